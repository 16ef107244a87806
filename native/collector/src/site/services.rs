// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Chains, groups, load balancers, mirrors.

use uuid::Uuid;

use super::{
    Chain, ChainUse, GroupMember, HealthMonitor, Kind, LoadBalancer, Mirror, Pool, PoolMember, PortGroup, Rule, SecurityGroup, SecurityGroupRule,
    Site, State, Vip, devices::share, fields::Fields, ports::short, words,
};

/// Back-references of a chain, with the kind of what hangs it and how.
const CHAIN_USES: [(&str, Kind, &str); 8] = [
    ("network_inbound_ids", Kind::Network, "inbound filter"),
    ("network_outbound_ids", Kind::Network, "outbound filter"),
    ("router_inbound_ids", Kind::Router, "pre-routing"),
    ("router_outbound_ids", Kind::Router, "post-routing"),
    ("router_redirect_ids", Kind::Router, "local redirect"),
    ("port_inbound_ids", Kind::Port, "inbound filter"),
    ("port_outbound_ids", Kind::Port, "outbound filter"),
    ("jump_rule_ids", Kind::Rule, "jump"),
];

/// Jumps that are followed back from a chain to what it hangs at: from an anti-spoofing or group chain to a port's own is one.
const JUMPS: usize = 2;

impl Site {
    pub fn chains(&self) -> impl Iterator<Item = Chain> + '_ {
        self.objects("Chain").filter_map(|(id, _)| self.chain(id))
    }

    pub fn chain(&self, id: Uuid) -> Option<Chain> {
        let fields = self.fields("Chain", id)?;
        let mut used_by = chain_uses(&fields);
        // MidoNet's translators delete jump rules without telling the chains that they lead to.
        used_by.retain(|user| self.class_of(user.id).is_some());
        Some(Chain {
            id,
            name: self.own_name(&["Chain"], id).unwrap_or_else(|| format!("chain {}", short(id))),
            tenant: self.chain_tenant(id, &used_by, JUMPS),
            rules: fields.ids("rule_ids"),
            used_by,
        })
    }

    /// A chain that Neutron made belongs to the owner of what it hangs at, perhaps by way of the chains that jump to it.
    fn chain_tenant(&self, id: Uuid, used_by: &[ChainUse], jumps: usize) -> Option<String> {
        if let Some(tenant) = self.tenant_of("Chain", id) {
            return Some(tenant.to_string());
        }
        used_by.iter().find_map(|user| match user.kind {
            Kind::Network => self.network_tenant(user.id),
            Kind::Router => self.router_tenant(user.id),
            Kind::Port => self.port_tenant(user.id).map(|tenant| tenant.to_string()),
            _ if jumps > 0 => {
                let from = self.fields("Rule", user.id)?.id("chain_id")?;
                self.chain_tenant(from, &chain_uses(&self.fields("Chain", from)?), jumps - 1)
            }
            _ => None,
        })
    }

    pub fn rules(&self) -> impl Iterator<Item = Rule> + '_ {
        self.objects("Rule").filter_map(|(id, _)| self.rule(id))
    }

    pub fn rule(&self, id: Uuid) -> Option<Rule> {
        let fields = self.fields("Rule", id)?;
        let chain = fields.id("chain_id");
        let place = chain
            .and_then(|chain| self.fields("Chain", chain))
            .and_then(|chain| chain.ids("rule_ids").iter().position(|rule| *rule == id));
        let condition = fields.message("condition").unwrap_or_default();
        let groups = ["ip_addr_group_id_src", "ip_addr_group_id_dst"];
        Some(Rule {
            id,
            chain,
            position: place.map(|place| place + 1),
            action: fields.symbol("action").unwrap_or_default().to_owned(),
            rule_type: fields.symbol("type").unwrap_or_default().to_owned(),
            text: words::rule(self, &fields),
            jump_to: fields.message("jump_rule_data").and_then(|jump| jump.id("jump_chain_id")),
            security_groups: groups.iter().filter_map(|name| condition.id(name)).collect(),
        })
    }

    /// Neutron's security groups, and address groups made by hand.
    pub fn security_groups(&self) -> impl Iterator<Item = SecurityGroup> + '_ {
        let ids: std::collections::BTreeSet<Uuid> = self.ids_of_class("SecurityGroup").chain(self.ids_of_class("IPAddrGroup")).collect();
        ids.into_iter().filter_map(|id| self.security_group(id))
    }

    pub fn security_group(&self, id: Uuid) -> Option<SecurityGroup> {
        let neutron = self.fields("SecurityGroup", id);
        let group = self.fields("IPAddrGroup", id);
        if neutron.is_none() && group.is_none() {
            return None;
        }
        let (neutron, group) = (neutron.unwrap_or_default(), group.unwrap_or_default());
        let rules = neutron
            .messages("security_group_rules")
            .iter()
            .map(|rule| SecurityGroupRule {
                id: rule.id("id").unwrap_or_default(),
                ingress: rule.symbol("direction") == Some("INGRESS"),
                text: words::security_group_rule(self, rule),
                remote_group: rule.id("remote_group_id"),
            })
            .collect();
        let members = group
            .messages("ip_addr_ports")
            .iter()
            .filter_map(|member| {
                Some(GroupMember {
                    address: member.ip("ip_address")?,
                    ports: member.ids("port_ids"),
                })
            })
            .collect();
        Some(SecurityGroup {
            id,
            name: self.group_name(id),
            description: neutron.text("description").unwrap_or_default().into_owned(),
            tenant: self.tenant_of("SecurityGroup", id).map(|tenant| tenant.to_string()),
            rules,
            members,
            inbound_chain: group.id("inbound_chain_id"),
            outbound_chain: group.id("outbound_chain_id"),
        })
    }

    pub(super) fn group_name(&self, id: Uuid) -> String {
        self.own_name(&["SecurityGroup", "IPAddrGroup"], id)
            .unwrap_or_else(|| format!("address group {}", short(id)))
    }

    pub fn port_groups(&self) -> impl Iterator<Item = PortGroup> + '_ {
        self.objects("PortGroup").filter_map(|(id, _)| self.port_group(id))
    }

    pub fn port_group(&self, id: Uuid) -> Option<PortGroup> {
        let fields = self.fields("PortGroup", id)?;
        Some(PortGroup {
            id,
            name: self.own_name(&["PortGroup"], id).unwrap_or_else(|| format!("port group {}", short(id))),
            tenant: self.tenant_of("PortGroup", id).map(|tenant| tenant.to_string()),
            stateful: fields.flag("stateful", false),
            ports: fields.ids("port_ids"),
        })
    }

    pub fn load_balancers(&self) -> impl Iterator<Item = LoadBalancer> + '_ {
        self.objects("LoadBalancer").filter_map(|(id, _)| self.load_balancer(id))
    }

    pub fn load_balancer(&self, id: Uuid) -> Option<LoadBalancer> {
        let fields = self.fields("LoadBalancer", id)?;
        let pools = fields.ids("pool_ids");
        let admin_up = fields.flag("admin_state_up", true);
        let router = fields.id("router_id");
        let states: Vec<State> = pools.iter().filter_map(|pool| self.pool(*pool)).map(|pool| pool.state).collect();
        Some(LoadBalancer {
            id,
            name: match router {
                Some(router) if self.internal_router_of(router).is_none() => format!("load balancer of {}", self.router_name(router)),
                _ => format!("load balancer {}", short(id)),
            },
            tenant: self.load_balancer_tenant(id),
            admin_up,
            state: if admin_up { whole(&states) } else { State::Off },
            router,
            pools,
            container: fields.id("service_container_id"),
        })
    }

    /// LBaaS v1: the tenant of its router. v2: of the port that has its address.
    pub(super) fn load_balancer_tenant(&self, id: Uuid) -> Option<String> {
        self.router_tenant(self.fields("LoadBalancer", id)?.id("router_id")?)
    }

    /// The tenant of the network ports that an internal router is linked to.
    pub(super) fn vip_port_tenant(&self, router: Uuid) -> Option<String> {
        let ports = self.fields("Router", router)?.ids("port_ids");
        ports
            .iter()
            .find_map(|port| self.port_tenant(self.port_facts(*port)?.peer?))
            .map(|tenant| tenant.to_string())
    }

    pub fn pools(&self) -> impl Iterator<Item = Pool> + '_ {
        self.objects("Pool").filter_map(|(id, _)| self.pool(id))
    }

    pub fn pool(&self, id: Uuid) -> Option<Pool> {
        let fields = self.fields("Pool", id)?;
        let load_balancer = fields.id("load_balancer_id");
        let members = fields.ids("pool_member_ids");
        let states: Vec<State> = members.iter().filter_map(|member| self.pool_member_state(*member)).collect();
        let admin_up = fields.flag("admin_state_up", true);
        Some(Pool {
            id,
            name: self.pool_name(id),
            tenant: load_balancer.and_then(|balancer| self.load_balancer_tenant(balancer)),
            admin_up,
            state: if admin_up { whole(&states) } else { State::Off },
            load_balancer,
            protocol: fields.symbol("protocol").unwrap_or("TCP").to_owned(),
            method: fields.symbol("lb_method").unwrap_or("ROUND_ROBIN").to_owned(),
            members_up: states.iter().filter(|state| **state == State::Up).count(),
            members,
            vips: fields.ids("vip_ids"),
            health_monitor: fields.id("health_monitor_id"),
        })
    }

    pub(super) fn pool_name(&self, id: Uuid) -> String {
        self.own_name(&["NeutronLoadBalancerPool"], id)
            .unwrap_or_else(|| format!("pool {}", short(id)))
    }

    pub fn pool_members(&self) -> impl Iterator<Item = PoolMember> + '_ {
        self.objects("PoolMember").filter_map(|(id, _)| self.pool_member(id))
    }

    pub fn pool_member(&self, id: Uuid) -> Option<PoolMember> {
        let fields = self.fields("PoolMember", id)?;
        let pool = fields.id("pool_id");
        let (address, port) = (fields.ip("address"), fields.int("protocol_port"));
        let tenant = pool.and_then(|pool| self.pool(pool)?.tenant);
        Some(PoolMember {
            id,
            name: self.member_name(id),
            admin_up: fields.flag("admin_state_up", true),
            state: self.pool_member_state(id).unwrap_or(State::Unknown),
            pool,
            address,
            port,
            weight: fields.int("weight"),
            network_port: address.and_then(|address| {
                let mut ports = self
                    .by_ip
                    .get(&address)?
                    .iter()
                    .copied()
                    .filter(|id| self.neutron_port(*id).is_some() && self.port_tenant(*id).as_deref() == tenant.as_deref());
                // Two networks of a tenant can have the address; then it is not known which one is meant.
                ports.next().filter(|_| ports.next().is_none())
            }),
            tenant,
        })
    }

    pub(super) fn member_name(&self, id: Uuid) -> String {
        let fields = self.fields("PoolMember", id).unwrap_or_default();
        match (fields.ip("address"), fields.int("protocol_port")) {
            (Some(address), Some(port)) => socket(address, port),
            _ => format!("pool member {}", short(id)),
        }
    }

    /// What the load balancer's daemon says; else the status that was set.
    pub(super) fn pool_member_state(&self, id: Uuid) -> Option<State> {
        let fields = self.fields("PoolMember", id)?;
        if !fields.flag("admin_state_up", true) {
            return Some(State::Off);
        }
        let said = self
            .state(id, "status")
            .map(|state| String::from_utf8_lossy(&state.value).trim().to_owned());
        Some(match said.as_deref().or(fields.symbol("status")).unwrap_or("ACTIVE") {
            "ACTIVE" => State::Up,
            "INACTIVE" => State::Down,
            _ => State::Unknown,
        })
    }

    pub fn vips(&self) -> impl Iterator<Item = Vip> + '_ {
        self.objects("Vip").filter_map(|(id, _)| self.vip(id))
    }

    pub fn vip(&self, id: Uuid) -> Option<Vip> {
        let fields = self.fields("Vip", id)?;
        let pool = fields.id("pool_id");
        Some(Vip {
            id,
            name: self.vip_name(id),
            tenant: pool.and_then(|pool| self.pool(pool)?.tenant),
            admin_up: fields.flag("admin_state_up", true),
            address: fields.ip("address"),
            port: fields.int("protocol_port"),
            pool,
            gateway_port: fields.id("gateway_port_id"),
        })
    }

    pub(super) fn vip_name(&self, id: Uuid) -> String {
        let own = self.own_name(&["NeutronVIP"], id);
        let fields = self.fields("Vip", id).unwrap_or_default();
        own.unwrap_or_else(|| match (fields.ip("address"), fields.int("protocol_port")) {
            (Some(address), Some(port)) => socket(address, port),
            _ => format!("VIP {}", short(id)),
        })
    }

    pub fn health_monitors(&self) -> impl Iterator<Item = HealthMonitor> + '_ {
        self.objects("HealthMonitor").filter_map(|(id, _)| self.health_monitor(id))
    }

    pub fn health_monitor(&self, id: Uuid) -> Option<HealthMonitor> {
        let fields = self.fields("HealthMonitor", id)?;
        Some(HealthMonitor {
            id,
            admin_up: fields.flag("admin_state_up", true),
            monitor_type: fields.symbol("type").unwrap_or("TCP").to_owned(),
            delay_s: fields.int("delay"),
            timeout_s: fields.int("timeout"),
            max_retries: fields.int("max_retries"),
            pools: fields.ids("pool_ids"),
        })
    }

    pub fn mirrors(&self) -> impl Iterator<Item = Mirror> + '_ {
        self.objects("Mirror").filter_map(|(id, _)| self.mirror(id))
    }

    pub fn mirror(&self, id: Uuid) -> Option<Mirror> {
        let fields = self.fields("Mirror", id)?;
        let all = |names: &[&str]| {
            let mut ids: Vec<Uuid> = names.iter().flat_map(|name| fields.ids(name)).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        Some(Mirror {
            id,
            to_port: fields.id("to_port_id"),
            conditions: fields
                .messages("conditions")
                .iter()
                .map(|condition| words::condition(self, condition))
                .collect(),
            networks: all(&["network_inbound_ids", "network_outbound_ids"]),
            routers: all(&["router_inbound_ids", "router_outbound_ids"]),
            ports: all(&[
                "port_inbound_ids",
                "port_outbound_ids",
                "port_post_in_filter_ids",
                "port_pre_out_filter_ids",
            ]),
        })
    }
}

fn chain_uses(chain: &Fields) -> Vec<ChainUse> {
    CHAIN_USES
        .iter()
        .flat_map(|(field, kind, role)| chain.ids(field).into_iter().map(|id| ChainUse { kind: *kind, id, role }))
        .collect()
}

/// An address and a port, as URLs write them.
fn socket(address: std::net::IpAddr, port: i64) -> String {
    match address {
        std::net::IpAddr::V4(address) => format!("{address}:{port}"),
        std::net::IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

/// The state of a whole from its parts; parts that are switched off don't count.
fn whole(parts: &[State]) -> State {
    let counted: Vec<State> = parts.iter().copied().filter(|state| !matches!(state, State::Off)).collect();
    if counted.contains(&State::Unknown) {
        return State::Unknown;
    }
    if counted.contains(&State::Degraded) {
        return State::Degraded;
    }
    share(counted.iter().filter(|state| **state == State::Up).count(), counted.len())
}
