// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Sets incidents up in a running cloud, plays them, and mends what they broke.

use std::net::{IpAddr, Ipv4Addr};

use uuid::Uuid;

use super::{Act, Broken, Incident, Scene};
use crate::{
    clock, ids,
    life::{Life, set_up},
    obj::{Kind, Obj, Val},
    plan::{Plan, TenantPlan},
    traffic::{From, Probe, Prober, To},
    translate::SecurityGroupRule,
    view::{Index, View},
    zoom::Zoom,
};

/// Somebody on the Internet.
const CLIENT: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
/// And a server there.
const SERVER: Ipv4Addr = Ipv4Addr::new(151, 101, 1, 69);
/// Probes of a burst: more than a small cloud has of its own in a minute.
const BURST: u32 = 600;
/// No group opens it.
const CLOSED: u16 = 2_323;

/// Where incidents happen.
pub struct Stage {
    life: Life,
    prober: Prober,
}

impl Stage {
    pub fn new(life: Life, seed: u64) -> Stage {
        let prober = Prober::new(life.context.clone(), life.agents.clone(), seed);
        Stage { life, prober }
    }

    /// Sends a probe; whether it got through.
    pub fn probe(&mut self, probe: &Probe) -> Option<bool> {
        self.prober.probe(probe)
    }

    /// Chooses what an incident happens to; `None` where this cloud has nothing for it, or is not whole.
    pub fn set(&self, incident: Incident) -> Option<Scene> {
        let view = self.life.context.view.read().clone();
        let mut plan = self.life.plan.lock();
        let scene = |subject, probe, act| {
            Some(Scene {
                incident,
                subject,
                probe,
                act,
            })
        };
        match incident {
            Incident::HostStops | Incident::HostCrashes => {
                let mut hosts = (0..self.life.agents.len()).filter(|host| {
                    let agent = &self.life.agents[*host];
                    agent.is_alive() && !agent.host.gateway
                });
                // One end of the list for each, so that both can happen to one cloud.
                let crash = incident == Incident::HostCrashes;
                let host = if crash { hosts.next_back()? } else { hosts.next()? };
                scene(self.life.agents[host].host.id, None, Act::Stop { host, crash })
            }
            Incident::PortInactive => {
                let port = view.port(*view.vms.last()?).id;
                scene(port, None, Act::Break(Broken::Port(port)))
            }
            Incident::UplinkInactive => {
                let port = view.port(*view.uplinks.last()?).id;
                scene(port, None, Act::Break(Broken::Port(port)))
            }
            Incident::BgpDown => {
                let peer = plan.zoom.all(Kind::BgpPeer).into_iter().min_by_key(|peer| peer.id)?;
                let IpAddr::V4(address) = peer.ip("address")? else { return None };
                scene(peer.id, None, Act::Break(Broken::Peer(address)))
            }
            Incident::VtepError => scene(plan.vtep, None, Act::Break(Broken::Vtep)),
            Incident::MemberInactive => {
                let (member, _) = *view.members.iter().find(|(_, up)| *up)?;
                scene(member, None, Act::Break(Broken::Member(member)))
            }
            Incident::RuleRemoved => {
                let (tenant, _, address) = web(&plan, &view, true)?;
                let rule = tenant.web_rules.first()?.clone();
                scene(rule.id, Some(from_outside(address, 80)), Act::Unrule(rule))
            }
            Incident::EgressRemoved => {
                let (tenant, vm, _) = web(&plan, &view, true)?;
                let rule = group_rule(&plan, &tenant, tenant.default_group, "EGRESS", None)?;
                scene(rule.id, Some(to_outside(vm)), Act::Unrule(rule))
            }
            Incident::DatabaseShut => {
                let (tenant, vm, _) = web(&plan, &view, true)?;
                let db = named(&plan, &view, &tenant, "db-")?;
                let rule = group_rule(&plan, &tenant, tenant.db_group, "INGRESS", Some(5_432))?;
                let probe = Probe {
                    from: From::Vm(vm),
                    to: To::Vm(db),
                    port: 5_432,
                };
                scene(rule.id, Some(probe), Act::Unrule(rule))
            }
            Incident::WrongGroup => {
                let (tenant, vm, address) = web(&plan, &view, true)?;
                let chain = plan.zoom.get(Kind::Port, vm)?.uuid("outbound_filter_id")?;
                let group = ids::out_chain(tenant.web_group);
                let rules: Vec<Uuid> = plan.zoom.get(Kind::Chain, chain)?.uuids("rule_ids").collect();
                let leads_there = |id: &Uuid| {
                    let rule = plan.zoom.get(Kind::Rule, *id);
                    rule.and_then(|rule| rule.get("jump_rule_data")?.field("jump_chain_id")?.as_id()) == Some(group)
                };
                let place = rules.iter().position(leads_there)?;
                let rule = plan.zoom.get(Kind::Rule, rules[place])?.clone();
                scene(rule.id, Some(from_outside(address, 80)), Act::RemoveRule { rule, chain, place })
            }
            Incident::DropRule => {
                let (_, vm, address) = web(&plan, &view, false)?;
                let chain = plan.zoom.get(Kind::Port, vm)?.uuid("outbound_filter_id")?;
                let rule = Obj::new(Kind::Rule, plan.fresh())
                    .with("type", Val::Enum("LITERAL_RULE"))
                    .with("action", Val::Enum("DROP"))
                    .with("chain_id", chain)
                    .with("condition", vec![("fragment_policy", Val::Enum("ANY"))]);
                scene(rule.id, Some(from_outside(address, 80)), Act::AddRule { rule, chain })
            }
            Incident::WrongRoute => {
                let (tenant, vm, _) = web(&plan, &view, true)?;
                let any = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
                let route = Obj::new(Kind::Route, plan.fresh())
                    .with("src_subnet", any)
                    .with("dst_subnet", (IpAddr::V4(SERVER), 24))
                    .with("next_hop", Val::Enum("BLACKHOLE"))
                    .with("weight", 10)
                    .with("router_id", tenant.router);
                scene(route.id, Some(to_outside(vm)), Act::AddRoute(route))
            }
            Incident::RouteRemoved => {
                let (tenant, vm, _) = web(&plan, &view, true)?;
                let default =
                    |route: &&Obj| route.subnet("dst_subnet").is_some_and(|(_, length)| length == 0) && leads(&plan.zoom, route, tenant.router);
                let route = plan.zoom.all(Kind::Route).into_iter().find(default)?.clone();
                scene(route.id, Some(to_outside(vm)), Act::RemoveRoute(route))
            }
            Incident::PortDisabled => {
                let (_, vm, address) = web(&plan, &view, false)?;
                scene(vm, Some(from_outside(address, 80)), Act::Disable(vm))
            }
            Incident::FloatingMoved => {
                let (tenant, vm, address) = web(&plan, &view, true)?;
                let fip = plan
                    .zoom
                    .all(Kind::FloatingIp)
                    .into_iter()
                    .find(|fip| fip.ip("floating_ip_address") == Some(address.into()))?
                    .id;
                let to = named(&plan, &view, &tenant, "app-")?;
                scene(fip, Some(from_outside(address, 80)), Act::MoveFloating { fip, from: vm, to })
            }
            Incident::Scan => {
                let (_, vm, address) = web(&plan, &view, false)?;
                let probe = from_outside(address, CLOSED);
                scene(
                    vm,
                    None,
                    Act::Burst {
                        probe,
                        count: BURST,
                        ports: true,
                    },
                )
            }
            Incident::NoisyNeighbour => {
                let (_, vm, _) = web(&plan, &view, true)?;
                let probe = to_outside(vm);
                scene(
                    vm,
                    None,
                    Act::Burst {
                        probe,
                        count: BURST,
                        ports: false,
                    },
                )
            }
        }
    }

    /// Lets it happen. The moment at which it was so, µs.
    pub async fn play(&mut self, scene: &Scene) -> Option<i64> {
        let told = format!("{}: {}", scene.incident.slug(), scene.subject);
        match &scene.act {
            Act::Stop { host, crash } => {
                let agent = &self.life.agents[*host];
                agent.stop(&self.life.ledger, *crash).await;
                self.life.ledger.happened(clock::now_us(), told);
                return Some(clock::now_us());
            }
            Act::Break(broken) => return Some(self.broken(*broken, true, told)),
            Act::Burst { probe, count, ports } => {
                for at in 0..*count {
                    let port = if *ports { probe.port + (at % 1_000) as u16 } else { probe.port };
                    self.prober.probe(&Probe { port, ..*probe });
                    // An agent's queue has room for some hundreds.
                    if at % 20 == 19 {
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                }
                self.life.ledger.happened(clock::now_us(), told);
                return Some(clock::now_us());
            }
            act => self.change(act, false),
        }
        self.life.apply(told).await.then(clock::now_us)
    }

    /// Mends it. False where that was not possible.
    pub async fn end(&mut self, scene: &Scene) -> bool {
        let told = format!("{} is over: {}", scene.incident.slug(), scene.subject);
        match &scene.act {
            Act::Stop { host, .. } => self.life.host_returns(*host).await,
            Act::Break(broken) => {
                self.broken(*broken, false, told);
                true
            }
            Act::Burst { .. } => true,
            act => {
                self.change(act, true);
                self.life.apply(told).await
            }
        }
    }

    fn broken(&self, broken: Broken, is: bool, told: String) -> i64 {
        let context = &self.life.context;
        if is {
            context.broken.write().insert(broken);
        } else {
            context.broken.write().remove(&broken);
        }
        context.changed.send_modify(|count| *count += 1);
        let now_us = clock::now_us();
        self.life.ledger.happened(now_us, told);
        now_us
    }

    /// Changes the plan, or changes it back.
    fn change(&self, act: &Act, back: bool) {
        let plan = &mut *self.life.plan.lock();
        match act {
            Act::Unrule(rule) if back => plan.translate(|translator| translator.security_group_rule(rule)),
            Act::Unrule(rule) => plan.translate(|translator| translator.delete_security_group_rule(rule.id)),
            Act::RemoveRule { rule, chain, place } if back => insert(&mut plan.zoom, rule, *chain, *place),
            Act::AddRule { rule, chain } if !back => insert(&mut plan.zoom, rule, *chain, 0),
            Act::RemoveRule { rule, .. } | Act::AddRule { rule, .. } => _ = plan.zoom.delete(Kind::Rule, rule.id),
            Act::RemoveRoute(route) if back => plan.zoom.create(route.clone()),
            Act::AddRoute(route) if !back => plan.zoom.create(route.clone()),
            Act::RemoveRoute(route) | Act::AddRoute(route) => _ = plan.zoom.delete(Kind::Route, route.id),
            Act::Disable(port) => set_up(plan, *port, back),
            Act::MoveFloating { fip, from, to } => _ = plan.move_floating(*fip, if back { *from } else { *to }),
            Act::Stop { .. } | Act::Break(_) | Act::Burst { .. } => {}
        }
    }
}

fn from_outside(address: Ipv4Addr, port: u16) -> Probe {
    Probe {
        from: From::Outside(CLIENT),
        to: To::Address(address),
        port,
    }
}

fn to_outside(vm: Uuid) -> Probe {
    Probe {
        from: From::Vm(vm),
        to: To::Address(SERVER),
        port: 443,
    }
}

/// A tenant with a web server that has a floating address: the first of all, or the last.
fn web(plan: &Plan, view: &View, first: bool) -> Option<(TenantPlan, Uuid, Ipv4Addr)> {
    let mut found = view.floating.iter().filter_map(|(address, port)| {
        let port = view.port(*port);
        let tenant = plan.tenants.iter().find(|tenant| tenant.id == view.tenants[port.tenant as usize])?;
        (port.name.starts_with("web-") && port.up).then(|| (tenant.clone(), port.id, *address))
    });
    if first { found.next() } else { found.next_back() }
}

/// A VM of a tenant by the beginning of its name.
fn named(plan: &Plan, view: &View, tenant: &TenantPlan, prefix: &str) -> Option<Uuid> {
    let is = |index: &&Index| {
        let port = view.port(**index);
        let free = plan
            .zoom
            .get(Kind::NeutronPort, port.id)
            .is_some_and(|neutron| neutron.uuids("floating_ip_ids").next().is_none());
        port.name.starts_with(prefix) && view.tenants[port.tenant as usize] == tenant.id && free
    };
    view.vms.iter().find(is).map(|index| view.port(*index).id)
}

/// One of a tenant's rules as it was asked for.
fn group_rule(plan: &Plan, tenant: &TenantPlan, group: Uuid, direction: &str, port: Option<i64>) -> Option<SecurityGroupRule> {
    let is = |rule: &&Obj| {
        rule.uuid("security_group_id") == Some(group)
            && rule.text("direction") == Some(direction)
            && rule.text("ethertype") == Some("IPV4")
            && rule.int("port_range_min") == port
    };
    let found = plan.zoom.all(Kind::SecurityGroupRule).into_iter().find(is)?;
    Some(SecurityGroupRule {
        id: found.id,
        tenant: tenant.id.clone(),
        group,
        ingress: direction == "INGRESS",
        ipv6: false,
        protocol: port.map(|_| "TCP"),
        ports: port.map(|port| (port, port)),
        remote_group: found.uuid("remote_group_id"),
        remote_prefix: None,
    })
}

/// Whether a route is one of a router: its own, or that of one of its ports.
fn leads(zoom: &Zoom, route: &Obj, router: Uuid) -> bool {
    let of_port = route
        .uuid("next_hop_port_id")
        .and_then(|port| zoom.get(Kind::Port, port)?.uuid("router_id"));
    of_port.or(route.uuid("router_id")) == Some(router)
}

/// A rule at its place in a chain.
fn insert(zoom: &mut Zoom, rule: &Obj, chain: Uuid, place: usize) {
    zoom.create(rule.clone());
    zoom.update(Kind::Chain, chain, |chain| {
        chain.remove("rule_ids", &Val::Id(rule.id));
        chain.insert("rule_ids", place, rule.id);
    });
}
