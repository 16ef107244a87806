// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::IpAddr;

use uuid::Uuid;

use super::{ANY_FRAGMENT, Translator, host_subnet, nat, rule};
use crate::{
    ids,
    obj::{Kind, Obj, Val},
};

/// A Neutron floating address.
#[derive(Clone, Debug)]
pub struct FloatingIp {
    pub id: Uuid,
    pub tenant: String,
    pub network: Uuid,
    pub address: IpAddr,
    /// Router, VM's port and its fixed address, once associated.
    pub association: Option<(Uuid, Uuid, IpAddr)>,
}

impl Translator<'_> {
    pub fn floating_ip(&mut self, fip: &FloatingIp) {
        let mut neutron = Obj::new(Kind::FloatingIp, fip.id)
            .with("tenant_id", &fip.tenant)
            .with("floating_ip_address", fip.address)
            .with("floating_network_id", fip.network);
        if let Some((router, port, fixed)) = fip.association {
            neutron.add("router_id", router);
            neutron.add("port_id", port);
            neutron.add("fixed_ip_address", fixed);
        }
        self.zoom.create(neutron);
        if let Some((router, port, fixed)) = fip.association {
            self.associate(fip, router, port, fixed);
        }
    }

    /// Takes a floating address from its VM; the address stays allocated.
    pub fn disassociate(&mut self, fip: Uuid) {
        let Some(neutron) = self.zoom.get(Kind::FloatingIp, fip).cloned() else {
            return;
        };
        let Some(router) = neutron.uuid("router_id") else { return };
        if let (Some((gateway, mac)), Some(IpAddr::V4(address)), Some(network)) = (
            self.gateway_of_router(router),
            neutron.ip("floating_ip_address"),
            neutron.uuid("floating_network_id"),
        ) {
            let _ = gateway;
            self.zoom.remove_entry(super::arp_entry(network, address, &mac));
        }
        for id in [
            ids::fip_snat_rule,
            ids::fip_snat_exact_rule,
            ids::fip_dnat_rule,
            ids::fip_skip_snat_out_rule,
            ids::fip_skip_snat_in_rule,
        ] {
            self.zoom.delete(Kind::Rule, id(fip));
        }
        self.zoom.update(Kind::FloatingIp, fip, |fip| {
            ["router_id", "port_id", "fixed_ip_address"].iter().for_each(|field| fip.clear(field))
        });
    }

    /// Gives an allocated floating address to a VM.
    pub fn associate_floating_ip(&mut self, fip: &FloatingIp) {
        let Some((router, port, fixed)) = fip.association else { return };
        self.zoom.update(Kind::FloatingIp, fip.id, |neutron| {
            neutron.set("router_id", router);
            neutron.set("port_id", port);
            neutron.set("fixed_ip_address", fixed);
        });
        self.associate(fip, router, port, fixed);
    }

    fn associate(&mut self, fip: &FloatingIp, router: Uuid, port: Uuid, fixed: IpAddr) {
        let Some((gateway, mac)) = self.gateway_of_router(router) else { return };
        self.arp_entry(fip.network, fip.address, &mac);
        let router_port = ids::tenant_gateway_port(gateway);
        let nat_rule = |id| rule(id, "NAT_RULE", "ACCEPT").with("fip_port_id", port);
        let (source, exact) = (
            vec![("nw_src_ip", host_subnet(fixed)), ANY_FRAGMENT],
            vec![("out_port_ids", Val::Id(router_port)), ("nw_src_ip", host_subnet(fixed)), ANY_FRAGMENT],
        );
        let destination = vec![("nw_dst_ip", host_subnet(fip.address)), ANY_FRAGMENT];
        let to_floating = nat(fip.address, false, false);
        self.zoom.create(
            nat_rule(ids::fip_snat_rule(fip.id))
                .with("condition", source)
                .with("nat_rule_data", to_floating.clone()),
        );
        self.zoom.create(
            nat_rule(ids::fip_snat_exact_rule(fip.id))
                .with("condition", exact)
                .with("nat_rule_data", to_floating),
        );
        let to_fixed = nat(fixed, true, false);
        self.zoom.create(
            nat_rule(ids::fip_dnat_rule(fip.id))
                .with("condition", destination)
                .with("nat_rule_data", to_fixed),
        );
        let out = vec![("out_port_ids", Val::Id(router_port)), ANY_FRAGMENT];
        let skip = rule(ids::fip_skip_snat_out_rule(fip.id), "LITERAL_RULE", "RETURN").with("fip_port_id", port);
        self.zoom.create(skip.with("condition", out));
        let inbound = vec![("in_port_ids", Val::Id(router_port)), ANY_FRAGMENT];
        let skip = rule(ids::fip_skip_snat_in_rule(fip.id), "LITERAL_RULE", "ACCEPT").with("fip_port_id", port);
        self.zoom.create(skip.with("condition", inbound));

        self.prepend(ids::in_chain(router), ids::fip_dnat_rule(fip.id));
        self.prepend(ids::float_snat_exact_chain(router), ids::fip_snat_exact_rule(fip.id));
        self.prepend(ids::skip_snat_chain(router), ids::fip_skip_snat_out_rule(fip.id));
        self.append(ids::skip_snat_chain(router), ids::fip_skip_snat_in_rule(fip.id));
        self.prepend(ids::float_snat_chain(router), ids::fip_snat_rule(fip.id));
    }

    /// The Neutron port of a router's gateway, and its MAC.
    fn gateway_of_router(&self, router: Uuid) -> Option<(Uuid, String)> {
        let gateway = self.zoom.get(Kind::NeutronRouter, router)?.uuid("gw_port_id")?;
        let mac = self.zoom.get(Kind::NeutronPort, gateway)?.text("mac_address")?.to_owned();
        Some((gateway, mac))
    }
}
