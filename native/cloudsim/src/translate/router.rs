// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::IpAddr;

use uuid::Uuid;

use super::{ANY_FRAGMENT, Translator, Via, any_v4, fixed_ips, host_subnet, jump_rule, metadata, nat, reverse_nat, rule};
use crate::{
    ids,
    obj::{Kind, Obj, Val},
};

/// A Neutron router.
#[derive(Clone, Debug)]
pub struct Router {
    pub id: Uuid,
    pub tenant: String,
    pub name: String,
    /// Its Neutron port on an external network, and whether it does source NAT there.
    pub gateway: Option<(Uuid, bool)>,
}

impl Translator<'_> {
    pub fn router(&mut self, router: &Router) {
        let id = router.id;
        let mut neutron = Obj::new(Kind::NeutronRouter, id)
            .with("name", &router.name)
            .with("status", "ACTIVE")
            .with("tenant_id", &router.tenant)
            .with("admin_state_up", true);
        if let Some((port, snat)) = router.gateway {
            let network = self
                .zoom
                .get(Kind::NeutronPort, port)
                .and_then(|port| port.uuid("network_id"))
                .unwrap_or_default();
            neutron.add("gw_port_id", port);
            neutron.add(
                "external_gateway_info",
                vec![("network_id", Val::Id(network)), ("enable_snat", Val::Bool(snat))],
            );
        }
        self.zoom.create(neutron);
        self.chain(ids::in_chain(id), format!("OS_PRE_ROUTING_{id}"));
        self.chain(ids::out_chain(id), format!("OS_POST_ROUTING_{id}"));
        self.chain(ids::forward_chain(id), format!("OS_FORWARD_{id}"));
        self.zoom.create(
            Obj::new(Kind::Router, id)
                .with("tenant_id", &router.tenant)
                .with("name", &router.name)
                .with("admin_state_up", true)
                .with("inbound_filter_id", ids::in_chain(id))
                .with("outbound_filter_id", ids::out_chain(id))
                .with("forward_chain_id", ids::forward_chain(id)),
        );
        let group = ids::router_port_group(id);
        self.zoom.create(
            Obj::new(Kind::PortGroup, group)
                .with("name", format!("OS_PORT_GROUP_{group}"))
                .with("tenant_id", &router.tenant)
                .with("stateful", true),
        );
        self.zoom.create(
            Obj::new(Kind::PortGroup, ids::router_interface_port_group(id))
                .with("name", format!("OS_PORT_GROUP_ROUTER_INTF_{id}"))
                .with("tenant_id", &router.tenant)
                .with("stateful", false),
        );
        self.snat_chains(id);
        if let Some((port, snat)) = router.gateway {
            self.gateway_port(id, port, snat);
        }
    }

    /// Attaches a router to a subnet by a Neutron port; on an uplink network the router's port is bound to a host's interface instead.
    pub fn router_interface(&mut self, router: Uuid, neutron_port: Uuid, binding: Option<(Uuid, &str)>) {
        let Some(neutron) = self.zoom.get(Kind::NeutronPort, neutron_port).cloned() else {
            return;
        };
        let port = ids::router_interface_port(neutron_port);
        let addresses = fixed_ips(&neutron);
        let mut topology = Obj::new(Kind::Port, port)
            .with("router_id", router)
            .with("admin_state_up", true)
            .with("port_mac", neutron.text("mac_address").unwrap_or_default());
        for (ip, subnet) in &addresses {
            let length = self.prefix_of(*subnet).map_or(32, |(_, length)| length);
            topology.add("port_subnet", (*ip, length));
        }
        if let Some((ip, _)) = addresses.first() {
            topology.add("port_address", *ip);
        }
        match binding {
            Some((host, interface)) => {
                let tunnel_key = self.zoom.next_tunnel_key();
                topology.add("port_group_ids", ids::router_port_group(router));
                topology.add("tunnel_key", tunnel_key);
                topology.add("host_id", host);
                topology.add("interface_name", interface);
            }
            None => {
                topology.add("port_group_ids", ids::router_interface_port_group(router));
                topology.add("peer_id", neutron_port);
                if let Some((_, subnet)) = addresses.iter().find(|(ip, subnet)| self.gateway_of(*subnet) == Some(*ip)) {
                    topology.add("dhcp_id", *subnet);
                }
            }
        }
        self.zoom.create(topology);
        for (ip, subnet) in addresses.into_iter().filter(|(ip, _)| ip.is_ipv4()) {
            self.interface_address(router, port, ip, subnet, binding.is_some());
        }
    }

    fn interface_address(&mut self, router: Uuid, port: Uuid, ip: IpAddr, subnet: Uuid, uplink: bool) {
        let length = self.prefix_of(subnet).map_or(32, |(_, length)| length);
        if !uplink {
            let server = self.zoom.get(Kind::Dhcp, subnet).and_then(|dhcp| dhcp.ip("server_address"));
            if self.gateway_of(subnet) == Some(ip)
                && let Some(server) = server.filter(|server| *server != ip)
            {
                self.route(ids::metadata_route(port, ip), port, (ip, length), metadata(), Via::Gateway(server, None));
            }
            let out = ids::out_chain(router);
            let (prefix, prefix_length) = metadata();
            let forward = vec![
                ("match_forward_flow", Val::Bool(true)),
                ("in_port_ids", Val::Id(port)),
                ("out_port_ids", Val::Id(port)),
                ("nw_dst_ip", Val::Subnet(prefix, prefix_length)),
                ("nw_dst_inv", Val::Bool(true)),
            ];
            let snat = rule(ids::same_subnet_snat_rule(out, port), "NAT_RULE", "ACCEPT");
            self.zoom.create(
                snat.with("chain_id", out)
                    .with("condition", forward)
                    .with("nat_rule_data", nat(ip, false, true)),
            );
            let inbound = ids::in_chain(router);
            let reverse = vec![
                ("match_return_flow", Val::Bool(true)),
                ("in_port_ids", Val::Id(port)),
                ("nw_dst_ip", host_subnet(ip)),
            ];
            let unsnat = rule(ids::same_subnet_snat_rule(inbound, port), "NAT_RULE", "ACCEPT");
            self.zoom.create(
                unsnat
                    .with("chain_id", inbound)
                    .with("condition", reverse)
                    .with("nat_rule_data", reverse_nat()),
            );
        }
        self.route(ids::interface_route(port, ip), port, any_v4(), (ip, length), Via::Port);
        self.route(ids::local_route(port, ip), port, any_v4(), (ip, 32), Via::Local);
    }

    fn snat_chains(&mut self, router: Uuid) {
        let out = ids::out_chain(router);
        let chains = [
            (ids::float_snat_chain(router), "OS_FLOAT_SNAT"),
            (ids::float_snat_exact_chain(router), "OS_FLOAT_SNAT_EXACT"),
            (ids::skip_snat_chain(router), "OS_SKIP_SNAT"),
            (ids::float_nat64_chain(router), "OS_FLOAT_NAT64"),
        ];
        for (chain, name) in chains {
            self.chain(chain, format!("{name}_{router}"));
            let id = self.fresh();
            self.zoom.create(jump_rule(id, chain));
            self.prepend(out, id);
        }
        let condition = vec![
            ("conjunction_inv", Val::Bool(true)),
            ANY_FRAGMENT,
            ("match_nw_dst_rewritten", Val::Bool(true)),
        ];
        let accept = rule(ids::skip_snat_accept_rule(router), "LITERAL_RULE", "ACCEPT");
        self.zoom
            .create(accept.with("chain_id", ids::skip_snat_chain(router)).with("condition", condition));
    }

    fn gateway_port(&mut self, router: Uuid, neutron_port: Uuid, snat: bool) {
        let Some(neutron) = self.zoom.get(Kind::NeutronPort, neutron_port).cloned() else {
            return;
        };
        let port = ids::tenant_gateway_port(neutron_port);
        let addresses = fixed_ips(&neutron);
        let mut topology = Obj::new(Kind::Port, port)
            .with("router_id", router)
            .with("admin_state_up", true)
            .with("port_mac", neutron.text("mac_address").unwrap_or_default())
            .with("peer_id", neutron_port);
        for (ip, subnet) in &addresses {
            let length = self.prefix_of(*subnet).map_or(32, |(_, length)| length);
            topology.add("port_subnet", (*ip, length));
        }
        if let Some((ip, _)) = addresses.first() {
            topology.add("port_address", *ip);
        }
        self.zoom.create(topology);
        for (ip, subnet) in addresses.into_iter().filter(|(ip, _)| ip.is_ipv4()) {
            if let Some(gateway) = self.gateway_of(subnet) {
                self.route(
                    ids::gateway_route(port, ip),
                    port,
                    any_v4(),
                    any_v4(),
                    Via::Gateway(gateway, Some(subnet)),
                );
            }
            self.route(ids::local_route(port, ip), port, any_v4(), (ip, 32), Via::Local);
            let cidr = self.prefix_of(subnet).unwrap_or((ip, 32));
            self.route(ids::interface_route(port, ip), port, any_v4(), cidr, Via::Port);
            if snat {
                self.snat_rules(router, port, ip);
            }
        }
    }

    fn snat_rules(&mut self, router: Uuid, port: Uuid, ip: IpAddr) {
        let (skip, out, inbound) = (ids::skip_snat_chain(router), ids::out_chain(router), ids::in_chain(router));
        let by_gateway = vec![("out_port_ids", Val::Id(port)), ANY_FRAGMENT];
        self.zoom
            .create(rule(ids::skip_snat_out_gateway_rule(router), "LITERAL_RULE", "RETURN").with("condition", by_gateway));
        let from_gateway = vec![("in_port_ids", Val::Id(port)), ANY_FRAGMENT];
        self.zoom
            .create(rule(ids::skip_snat_in_gateway_rule(router), "LITERAL_RULE", "ACCEPT").with("condition", from_gateway));
        self.prepend(skip, ids::skip_snat_out_gateway_rule(router));
        self.append(skip, ids::skip_snat_in_gateway_rule(router));

        let not_ours = || {
            vec![
                ("out_port_ids", Val::Id(port)),
                ("nw_src_ip", host_subnet(ip)),
                ("nw_src_inv", Val::Bool(true)),
            ]
        };
        let snat = rule(ids::out_snat_rule(router), "NAT_RULE", "ACCEPT").with("chain_id", out);
        self.zoom
            .create(snat.with("condition", not_ours()).with("nat_rule_data", nat(ip, false, true)));
        let rewritten = vec![ANY_FRAGMENT, ("match_nw_dst_rewritten", Val::Bool(true))];
        let snat = rule(ids::dst_rewritten_snat_rule(router), "NAT_RULE", "ACCEPT").with("chain_id", out);
        self.zoom
            .create(snat.with("condition", rewritten).with("nat_rule_data", nat(ip, false, true)));
        let mut fragments = not_ours();
        fragments.push(ANY_FRAGMENT);
        let drop = rule(ids::out_drop_unmatched_fragments_rule(router), "LITERAL_RULE", "DROP");
        self.zoom.create(drop.with("chain_id", out).with("condition", fragments));

        let to_us = vec![("nw_dst_ip", host_subnet(ip))];
        let unsnat = rule(ids::in_reverse_snat_rule(router), "NAT_RULE", "ACCEPT").with("chain_id", inbound);
        self.zoom.create(unsnat.with("condition", to_us).with("nat_rule_data", reverse_nat()));
        let not_icmp = vec![
            ("nw_proto", Val::Int(1)),
            ("nw_proto_inv", Val::Bool(true)),
            ("nw_dst_ip", host_subnet(ip)),
        ];
        let drop = rule(ids::in_drop_wrong_port_rule(router), "LITERAL_RULE", "DROP");
        self.zoom.create(drop.with("chain_id", inbound).with("condition", not_icmp));
    }

    fn prefix_of(&self, subnet: Uuid) -> Option<(IpAddr, u8)> {
        self.zoom.get(Kind::NeutronSubnet, subnet).and_then(|subnet| subnet.subnet("cidr"))
    }

    fn gateway_of(&self, subnet: Uuid) -> Option<IpAddr> {
        self.zoom.get(Kind::NeutronSubnet, subnet).and_then(|subnet| subnet.ip("gateway_ip"))
    }
}
