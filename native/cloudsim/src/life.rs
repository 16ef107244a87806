// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What happens to a cloud while it runs: VMs come, go and move, hosts die and return, rules, routes and members change.

use std::{sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    agent::{Agent, Context},
    clock,
    ledger::Ledger,
    nsdb::{Nsdb, NsdbError},
    obj::Kind,
    plan::{Plan, Role, tap_name},
    run::listen,
    translate::SecurityGroupRule,
    view::{Learned, View},
    zk::ZkError,
};

/// Events that end by themselves last for between these seconds.
const SHORTEST: f64 = 30.0;
const LONGEST: f64 = 120.0;

/// Between two attempts to write the NSDB.
const RETRY: Duration = Duration::from_secs(1);

/// What may happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    VmCreated,
    VmDeleted,
    VmMigrated,
    PortDown,
    HostDies,
    RuleRemoved,
    RouteWithdrawn,
    MemberDown,
    FloatingMoved,
}

/// Events with their shares.
const SHARES: &[(Event, u32)] = &[
    (Event::VmCreated, 6),
    (Event::VmDeleted, 5),
    (Event::VmMigrated, 4),
    (Event::PortDown, 3),
    (Event::HostDies, 2),
    (Event::RuleRemoved, 3),
    (Event::RouteWithdrawn, 1),
    (Event::MemberDown, 2),
    (Event::FloatingMoved, 2),
];

/// What puts things right again.
enum Remedy {
    PortUp(Uuid),
    HostReturns(usize),
    RuleAdded(SecurityGroupRule),
    RoutesReturn(Vec<Learned>),
    MemberUp(Uuid),
}

/// The life of a cloud.
pub struct Life {
    pub plan: Arc<parking_lot::Mutex<Plan>>,
    pub nsdb: Arc<tokio::sync::Mutex<Nsdb>>,
    pub context: Arc<Context>,
    pub agents: Arc<Vec<Agent>>,
    pub ledger: Arc<Ledger>,
    pub stats_ports: Arc<std::collections::HashMap<Uuid, u16>>,
    rng: StdRng,
    remedies: Vec<(Instant, Remedy)>,
    /// VMs at the start.
    vms: usize,
}

impl Life {
    pub fn new(
        plan: Arc<parking_lot::Mutex<Plan>>,
        nsdb: Arc<tokio::sync::Mutex<Nsdb>>,
        context: Arc<Context>,
        agents: Arc<Vec<Agent>>,
        stats_ports: Arc<std::collections::HashMap<Uuid, u16>>,
        seed: u64,
    ) -> Life {
        let ledger = context.ledger.clone();
        let vms = context.view.read().vms.len();
        Life {
            plan,
            nsdb,
            context,
            agents,
            ledger,
            stats_ports,
            rng: StdRng::seed_from_u64(seed ^ 0x6c69_6665),
            remedies: Vec::new(),
            vms,
        }
    }

    /// Lets things happen, at this interval on average, until it is dropped.
    pub async fn run(mut self, mean: Duration) {
        let mut next = Instant::now() + self.pause(mean);
        loop {
            let due = self.remedies.iter().map(|(at, _)| *at).min();
            tokio::time::sleep_until(due.map_or(next, |due| due.min(next))).await;
            let now = Instant::now();
            if let Some(index) = self.remedies.iter().position(|(at, _)| *at <= now) {
                let (_, remedy) = self.remedies.swap_remove(index);
                self.remedy(remedy).await;
            } else if now >= next {
                let event = self.pick();
                self.happen(event).await;
                next = now + self.pause(mean);
            }
        }
    }

    /// Makes one event happen, with whatever it happens to chosen at random; false if there is nothing that it could happen to.
    pub async fn happen(&mut self, event: Event) -> bool {
        let told = match event {
            Event::VmCreated => self.create_vm(),
            Event::VmDeleted => self.delete_vm(),
            Event::VmMigrated => self.migrate_vm(),
            Event::PortDown => self.port_down(),
            Event::HostDies => return self.host_dies().await,
            Event::RuleRemoved => self.remove_rule(),
            Event::RouteWithdrawn => self.withdraw_routes(),
            Event::MemberDown => self.member_down(),
            Event::FloatingMoved => self.move_floating(),
        };
        match told {
            Some(told) => self.apply(told).await,
            None => false,
        }
    }

    fn pick(&mut self) -> Event {
        let total: u32 = SHARES.iter().map(|(_, share)| share).sum();
        let mut at = self.rng.random_range(0..total);
        for (event, share) in SHARES {
            if at < *share {
                return self.balanced(*event);
            }
            at -= share;
        }
        Event::VmCreated
    }

    /// Keeps the number of VMs about where it began.
    fn balanced(&self, event: Event) -> Event {
        let now = self.context.view.read().vms.len() as f64;
        let began = self.vms as f64;
        match event {
            Event::VmCreated if now > began * 1.25 => Event::VmDeleted,
            Event::VmDeleted if now < began * 0.8 => Event::VmCreated,
            other => other,
        }
    }

    fn pause(&mut self, mean: Duration) -> Duration {
        // Events are independent of each other, so the time between them is exponential; never so short that one hides the other.
        mean.mul_f64((-self.rng.random_range(f64::EPSILON..1.0).ln()).clamp(0.1, 4.0))
    }

    fn later(&mut self, remedy: Remedy) {
        let after = Duration::from_secs_f64(self.rng.random_range(SHORTEST..LONGEST));
        self.remedies.push((Instant::now() + after, remedy));
    }

    /// Writes what changed, and lets agents and traffic see it.
    pub(crate) async fn apply(&mut self, told: String) -> bool {
        let changes = self.plan.lock().zoom.take_changes();
        // What the plan has is what the NSDB must become: a server that is away is waited for.
        let mut waiting = false;
        loop {
            match self.nsdb.lock().await.commit(&changes).await {
                Ok(()) => break,
                Err(error @ NsdbError::Write(ZkError::Refused { .. })) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    log::error!("{told}, but the NSDB refused it: {cause}");
                    return false;
                }
                Err(error) if !waiting => {
                    waiting = true;
                    log::warn!("{told}, but the NSDB can't be written yet: {error}");
                }
                Err(_) => {}
            }
            sleep(RETRY).await;
        }
        let (plan, learned) = (self.plan.clone(), self.context.learned.read().clone());
        // Compiling a large cloud takes long enough to hold up other tasks.
        if let Ok(view) = tokio::task::spawn_blocking(move || View::compile(&plan.lock().zoom, &learned)).await {
            *self.context.view.write() = Arc::new(view);
        }
        self.context.changed.send_modify(|count| *count += 1);
        self.ledger.happened(clock::now_us(), told);
        true
    }

    fn create_vm(&mut self) -> Option<String> {
        let mut plan = self.plan.lock();
        let tenant = self.rng.random_range(0..plan.tenants.len());
        let network = self.rng.random_range(0..plan.tenants[tenant].networks.len());
        let computes: Vec<usize> = (0..plan.hosts.len())
            .filter(|host| !plan.hosts[*host].gateway && self.agents[*host].is_alive())
            .collect();
        let host = *pick(&computes, &mut self.rng)?;
        let role = [Role::Web, Role::App, Role::Batch][self.rng.random_range(0..3)];
        let port = plan.add_vm(tenant, network, role, host)?;
        if role == Role::Web {
            plan.add_floating(tenant, port);
        }
        Some(format!(
            "VM {} with port {port} came up on {}",
            name_of(&plan, port),
            plan.hosts[host].name
        ))
    }

    fn delete_vm(&mut self) -> Option<String> {
        let mut plan = self.plan.lock();
        let port = some_vm(&self.context, &mut self.rng, &plan, |plan, port| {
            let neutron = plan.zoom.get(Kind::NeutronPort, port);
            // A VM behind an address of its own stays: its address is where the Internet's traffic goes.
            neutron.is_some_and(|neutron| {
                neutron.uuids("floating_ip_ids").next().is_none() && neutron.text("name").is_some_and(|name| !name.starts_with("web-"))
            })
        })?;
        let name = name_of(&plan, port);
        plan.translate(|translator| {
            translator.unbind(port);
            translator.delete_port(port);
        });
        Some(format!("VM {name} with port {port} was deleted"))
    }

    fn migrate_vm(&mut self) -> Option<String> {
        let mut plan = self.plan.lock();
        let port = some_vm(&self.context, &mut self.rng, &plan, |_, _| true)?;
        let from = plan.zoom.get(Kind::Port, port)?.uuid("host_id")?;
        let targets: Vec<usize> = (0..plan.hosts.len())
            .filter(|host| !plan.hosts[*host].gateway && plan.hosts[*host].id != from && self.agents[*host].is_alive())
            .collect();
        let host = plan.hosts[*pick(&targets, &mut self.rng)?].clone();
        let name = name_of(&plan, port);
        plan.translate(|translator| translator.bind(port, host.id, &tap_name(port)));
        plan.zoom.update(Kind::Port, port, |port| port.set("previous_host_id", from));
        plan.zoom.update(Kind::NeutronPort, port, |port| port.set("host_id", &host.name));
        Some(format!("VM {name} with port {port} moved to {}", host.name))
    }

    fn port_down(&mut self) -> Option<String> {
        let port = {
            let mut plan = self.plan.lock();
            let port = some_vm(&self.context, &mut self.rng, &plan, |plan, port| {
                plan.zoom.get(Kind::Port, port).and_then(|port| port.flag("admin_state_up")) == Some(true)
            })?;
            set_up(&mut plan, port, false);
            port
        };
        self.later(Remedy::PortUp(port));
        Some(format!("port {port} was set down"))
    }

    async fn host_dies(&mut self) -> bool {
        let computes: Vec<usize> = (0..self.agents.len())
            .filter(|host| self.agents[*host].is_alive() && !self.agents[*host].host.gateway)
            .collect();
        // The last one stays, or there is no cloud left to look at.
        if computes.len() < 2 {
            return false;
        }
        let Some(index) = pick(&computes, &mut self.rng).copied() else {
            return false;
        };
        let crash = self.rng.random_bool(0.5);
        let agent = &self.agents[index];
        agent.stop(&self.ledger, crash).await;
        let how = if crash { "crashed" } else { "was shut down" };
        self.ledger.happened(clock::now_us(), format!("host {} {how}", agent.host.name));
        self.later(Remedy::HostReturns(index));
        true
    }

    fn remove_rule(&mut self) -> Option<String> {
        let (rule, told) = {
            let mut plan = self.plan.lock();
            let rules: Vec<SecurityGroupRule> = plan
                .tenants
                .iter()
                .flat_map(|tenant| &tenant.web_rules)
                .filter(|rule| plan.zoom.has(Kind::SecurityGroupRule, rule.id))
                .cloned()
                .collect();
            let rule = pick(&rules, &mut self.rng)?.clone();
            plan.translate(|translator| translator.delete_security_group_rule(rule.id));
            let port = rule.ports.map_or(0, |(port, _)| port);
            let told = format!(
                "rule {} that lets port {port} into the web servers of tenant {} was removed",
                rule.id, rule.tenant
            );
            (rule, told)
        };
        self.later(Remedy::RuleAdded(rule));
        Some(told)
    }

    fn withdraw_routes(&mut self) -> Option<String> {
        let (gone, gateway) = {
            let mut learned = self.context.learned.write();
            let gateways: std::collections::BTreeSet<_> = learned.iter().map(|route| route.gateway).collect();
            // One uplink at least keeps its routes.
            if gateways.len() < 2 {
                return None;
            }
            let gateway = *gateways.iter().nth(self.rng.random_range(0..gateways.len()))?;
            let (gone, kept): (Vec<_>, Vec<_>) = learned.drain(..).partition(|route| route.gateway == gateway);
            *learned = kept;
            (gone, gateway)
        };
        self.later(Remedy::RoutesReturn(gone));
        Some(format!("BGP peer {gateway} withdrew its routes"))
    }

    fn member_down(&mut self) -> Option<String> {
        let member = {
            let mut plan = self.plan.lock();
            let members: Vec<Uuid> = plan
                .zoom
                .all(Kind::PoolMember)
                .into_iter()
                .filter(|member| member.flag("admin_state_up") == Some(true))
                .map(|member| member.id)
                .collect();
            let member = *pick(&members, &mut self.rng)?;
            set_member(&mut plan, member, false);
            member
        };
        self.later(Remedy::MemberUp(member));
        Some(format!("pool member {member} was set down"))
    }

    /// Takes a floating address from one of a tenant's VMs and gives it to another; to one without the web group, and drops begin.
    fn move_floating(&mut self) -> Option<String> {
        let mut plan = self.plan.lock();
        let fips: Vec<Uuid> = plan
            .zoom
            .all(Kind::FloatingIp)
            .into_iter()
            .filter(|fip| fip.uuid("port_id").is_some())
            .map(|fip| fip.id)
            .collect();
        let fip = *pick(&fips, &mut self.rng)?;
        let tenant = plan.zoom.get(Kind::FloatingIp, fip)?.text("tenant_id")?.to_owned();
        let free: Vec<Uuid> = plan
            .zoom
            .all(Kind::NeutronPort)
            .into_iter()
            .filter(|port| {
                port.text("tenant_id") == Some(&tenant)
                    && port.text("device_owner") == Some("COMPUTE")
                    && port.uuids("floating_ip_ids").next().is_none()
                    && port.text("name").is_some_and(|name| name.starts_with("web-") || name.starts_with("app-"))
            })
            .map(|port| port.id)
            .collect();
        let port = *pick(&free, &mut self.rng)?;
        plan.move_floating(fip, port)?;
        Some(format!("floating address {fip} moved to port {port}"))
    }

    /// Starts the agent of a host again; false where its address is not free yet.
    pub(crate) async fn host_returns(&mut self, index: usize) -> bool {
        let agent = &self.agents[index];
        let port = self.stats_ports.get(&agent.host.id).copied().unwrap_or(0);
        match listen(agent.address(), port).await {
            Ok(listener) => {
                agent.start(&self.context, listener, self.rng.random());
                self.ledger.happened(clock::now_us(), format!("host {} returned", agent.host.name));
                true
            }
            Err(error) => {
                log::warn!("host {} can't return yet: {error}", agent.host.name);
                false
            }
        }
    }

    async fn remedy(&mut self, remedy: Remedy) {
        let told = match remedy {
            Remedy::PortUp(port) => {
                let mut plan = self.plan.lock();
                if !plan.zoom.has(Kind::Port, port) {
                    return;
                }
                set_up(&mut plan, port, true);
                format!("port {port} was set up")
            }
            Remedy::HostReturns(index) => {
                if !self.host_returns(index).await {
                    sleep(Duration::from_secs(1)).await;
                    self.later(Remedy::HostReturns(index));
                }
                return;
            }
            Remedy::RuleAdded(rule) => {
                self.plan.lock().translate(|translator| translator.security_group_rule(&rule));
                format!("rule {} of tenant {} was added again", rule.id, rule.tenant)
            }
            Remedy::RoutesReturn(routes) => {
                let gateway = routes.first().map(|route| route.gateway.to_string()).unwrap_or_default();
                self.context.learned.write().extend(routes);
                format!("BGP peer {gateway} announces its routes again")
            }
            Remedy::MemberUp(member) => {
                set_member(&mut self.plan.lock(), member, true);
                format!("pool member {member} was set up")
            }
        };
        self.apply(told).await;
    }
}

fn some_vm(context: &Context, rng: &mut StdRng, plan: &Plan, fits: impl Fn(&Plan, Uuid) -> bool) -> Option<Uuid> {
    let view = context.view.read().clone();
    let start = rng.random_range(0..view.vms.len().max(1));
    // From a random place on, so that no list of all that fit is needed.
    let mut ports = (0..view.vms.len()).map(|step| view.port(view.vms[(start + step) % view.vms.len()]).id);
    ports.find(|port| plan.zoom.has(Kind::Port, *port) && fits(plan, *port))
}

fn pick<'a, T>(list: &'a [T], rng: &mut StdRng) -> Option<&'a T> {
    if list.is_empty() {
        None
    } else {
        list.get(rng.random_range(0..list.len()))
    }
}

fn name_of(plan: &Plan, port: Uuid) -> String {
    plan.zoom
        .get(Kind::NeutronPort, port)
        .and_then(|port| port.text("name"))
        .unwrap_or_default()
        .to_owned()
}

pub(crate) fn set_up(plan: &mut Plan, port: Uuid, up: bool) {
    plan.zoom.update(Kind::Port, port, |port| port.set("admin_state_up", up));
    plan.zoom.update(Kind::NeutronPort, port, |port| port.set("admin_state_up", up));
}

fn set_member(plan: &mut Plan, member: Uuid, up: bool) {
    plan.zoom.update(Kind::PoolMember, member, |member| member.set("admin_state_up", up));
    plan.zoom
        .update(Kind::NeutronLoadBalancerPoolMember, member, |member| member.set("admin_state_up", up));
}
