// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use midonet::flow::{DeviceKind, RuleResult};

use super::*;
use crate::{
    ids,
    obj::Kind,
    plan::{Plan, Role},
    size::Size,
};

struct Cloud {
    plan: Plan,
    view: View,
}

impl Cloud {
    fn new() -> Cloud {
        let plan = Plan::build(Size::SMALL, 1, Ipv4Addr::new(127, 64, 0, 0));
        let view = View::compile(&plan.zoom, &plan.learned);
        Cloud { plan, view }
    }

    fn vm(&self, tenant: usize, network: usize, role: Role) -> Index {
        let network = self.plan.tenants[tenant].networks[network].0;
        let fits = |port: &&Index| {
            let port = self.view.port(**port);
            port.name.starts_with(role.name()) && matches!(port.device, DeviceRef::Network(index) if self.view.networks[index as usize].id == network)
        };
        *self.view.vms.iter().find(fits).unwrap()
    }

    fn address(&self, port: Index) -> IpAddr {
        self.view.port(port).addresses[0]
    }

    fn router_mac(&self, port: Index) -> Mac {
        let DeviceRef::Network(network) = self.view.port(port).device else {
            panic!("not a VM's port")
        };
        let network = &self.view.networks[network as usize];
        network.arp[&network.gateway.unwrap()]
    }

    fn packet(&self, from: Index, to_mac: Mac, dst: IpAddr, dst_port: u16) -> Packet {
        let port = self.view.port(from);
        Packet {
            eth_src: port.mac,
            eth_dst: to_mac,
            ether_type: 0x0800,
            src: self.address(from),
            dst,
            proto: 6,
            tos: 0,
            ttl: 64,
            src_port: 40_000,
            dst_port,
            icmp_id: 0,
            vlan: None,
            returned: false,
        }
    }
}

fn back(packet: &Packet) -> Packet {
    Packet {
        eth_src: packet.eth_dst,
        eth_dst: packet.eth_src,
        src: packet.dst,
        dst: packet.src,
        src_port: packet.dst_port,
        dst_port: packet.src_port,
        ttl: 64,
        returned: true,
        ..*packet
    }
}

fn kinds(walk: &Walk) -> Vec<DeviceKind> {
    walk.devices
        .iter()
        .map(|device| device.kind)
        .filter(|kind| *kind != DeviceKind::Chain)
        .collect()
}

/// Rules that were applied, with their verdicts.
fn applied(walk: &Walk) -> Vec<(Uuid, RuleResult)> {
    walk.rules.iter().filter(|rule| rule.applied).map(|rule| (rule.id, rule.result)).collect()
}

use DeviceKind::{Bridge, LoadBalancer, Pool, Port as PortKind, Router as RouterKind};

#[test]
fn inside_a_network_the_security_groups_of_both_ports_decide() {
    let cloud = Cloud::new();
    let (app, db) = (cloud.vm(0, 0, Role::App), cloud.vm(0, 0, Role::Db));
    let mut walk = Walk::default();
    let mut packet = cloud.packet(app, cloud.view.port(db).mac, cloud.address(db), 5432);
    assert_eq!(cloud.view.simulate(app, &mut packet, &[], 0, 0, &mut walk), Verdict::Forwarded(db));
    assert_eq!(kinds(&walk), [PortKind, Bridge, PortKind]);
    let port = cloud.view.port(app).id;
    let verdicts: Vec<RuleResult> = applied(&walk).iter().map(|(_, result)| *result).collect();
    // Anti-spoofing returns, the default group lets it out, the database's group lets it in.
    assert_eq!(
        verdicts,
        [
            RuleResult::Jump,
            RuleResult::Return,
            RuleResult::Jump,
            RuleResult::Accept,
            RuleResult::Jump,
            RuleResult::Accept
        ]
    );
    assert_eq!(walk.rules[0].id, ids::anti_spoof_jump_rule(port));
    assert!(
        walk.rules
            .iter()
            .any(|rule| !rule.matched && !rule.applied && rule.result == RuleResult::Continue)
    );

    let mut ssh = cloud.packet(app, cloud.view.port(db).mac, cloud.address(db), 22);
    let verdict = cloud.view.simulate(app, &mut ssh, &[], 0, 0, &mut walk);
    let outbound = cloud.plan.zoom.get(Kind::Chain, ids::out_chain(cloud.view.port(db).id)).unwrap();
    let last = outbound.uuids("rule_ids").last().unwrap();
    assert_eq!(verdict, Verdict::Dropped(last));
    assert_eq!(applied(&walk).last(), Some(&(last, RuleResult::Drop)));

    let mut spoofed = Packet {
        src: "10.9.9.9".parse().unwrap(),
        ..cloud.packet(app, cloud.view.port(db).mac, cloud.address(db), 5432)
    };
    let spoof = cloud.plan.zoom.get(Kind::Chain, ids::anti_spoof_chain(port)).unwrap();
    let last = spoof.uuids("rule_ids").last().unwrap();
    assert_eq!(cloud.view.simulate(app, &mut spoofed, &[], 0, 0, &mut walk), Verdict::Dropped(last));
    assert_eq!(kinds(&walk), [PortKind]);
}

#[test]
fn what_leaves_is_translated_and_what_comes_back_is_translated_back() {
    let cloud = Cloud::new();
    let app = cloud.vm(1, 0, Role::App);
    let mut walk = Walk::default();
    let start = cloud.packet(app, cloud.router_mac(app), "93.184.216.34".parse().unwrap(), 443);
    let mut packet = start;
    let verdict = cloud.view.simulate(app, &mut packet, &[], 777, 0, &mut walk);
    let Verdict::Forwarded(uplink) = verdict else { panic!("{verdict:?}") };
    assert!(cloud.view.uplinks.contains(&uplink));
    assert_eq!(
        kinds(&walk),
        [
            PortKind, Bridge, PortKind, PortKind, RouterKind, PortKind, PortKind, Bridge, PortKind, PortKind, RouterKind, PortKind
        ]
    );
    assert!(walk.stateful);
    assert_eq!(packet.ttl, 62);
    assert_eq!((packet.eth_src, packet.eth_dst), (cloud.view.port(uplink).mac, PEER_MAC));
    let snat = ids::out_snat_rule(cloud.plan.tenants[1].router);
    assert!(applied(&walk).contains(&(snat, RuleResult::Accept)));
    assert_eq!((packet.src, packet.src_port), (IpAddr::V4(walk.nats[0].after.0), walk.nats[0].after.1));
    assert!(packet.src.to_string().starts_with("198.18."));

    let nats = walk.nats.clone();
    let mut answer = back(&packet);
    assert_eq!(cloud.view.simulate(uplink, &mut answer, &nats, 0, 0, &mut walk), Verdict::Forwarded(app));
    assert_eq!((answer.dst, answer.dst_port, answer.src), (start.src, start.src_port, start.dst));
    assert!(applied(&walk).contains(&(ids::in_reverse_snat_rule(cloud.plan.tenants[1].router), RuleResult::Accept)));

    // The same packet without the state of a connection is for the router itself, which takes none.
    let mut stray = Packet {
        returned: false,
        ..back(&packet)
    };
    let dropped = Verdict::Dropped(ids::in_drop_wrong_port_rule(cloud.plan.tenants[1].router));
    assert_eq!(cloud.view.simulate(uplink, &mut stray, &[], 0, 0, &mut walk), dropped);
}

#[test]
fn a_floating_address_leads_in_and_out() {
    let cloud = Cloud::new();
    let (address, web) = cloud.view.floating[0];
    let uplink = cloud.view.uplinks[0];
    let mut walk = Walk::default();
    let start = Packet {
        eth_src: PEER_MAC,
        eth_dst: cloud.view.port(uplink).mac,
        src: "93.184.216.34".parse().unwrap(),
        ..cloud.packet(web, PEER_MAC, IpAddr::V4(address), 443)
    };
    let mut packet = start;
    assert_eq!(cloud.view.simulate(uplink, &mut packet, &[], 0, 0, &mut walk), Verdict::Forwarded(web));
    assert_eq!(packet.dst, cloud.address(web));
    let mut answer = back(&packet);
    let nats = walk.nats.clone();
    let verdict = cloud.view.simulate(web, &mut answer, &nats, 0, 0, &mut walk);
    assert!(
        matches!(verdict, Verdict::Forwarded(out) if cloud.view.uplinks.contains(&out)),
        "{verdict:?}"
    );
    assert_eq!((answer.src, answer.dst), (IpAddr::V4(address), start.src));

    let mut scan = Packet { dst_port: 3389, ..start };
    let verdict = cloud.view.simulate(uplink, &mut scan, &[], 0, 0, &mut walk);
    assert!(matches!(verdict, Verdict::Dropped(_)), "{verdict:?}");
    let chain = cloud.plan.zoom.get(Kind::Chain, ids::out_chain(cloud.view.port(web).id)).unwrap();
    assert_eq!(verdict, Verdict::Dropped(chain.uuids("rule_ids").last().unwrap()));
}

#[test]
fn a_virtual_address_chooses_a_member_and_hides_it() {
    let cloud = Cloud::new();
    let (address, port, _) = cloud.view.vips[0];
    let tenant = cloud
        .plan
        .tenants
        .iter()
        .position(|tenant| cloud.view.routers[cloud.view.vips[0].2 as usize].id == tenant.router)
        .unwrap();
    let client = cloud.vm(tenant, 1, Role::App);
    let start = cloud.packet(client, cloud.router_mac(client), IpAddr::V4(address), port);
    let (mut packet, mut walk) = (start, Walk::default());
    let verdict = cloud.view.simulate(client, &mut packet, &[], 5, 0, &mut walk);
    let Verdict::Forwarded(member) = verdict else { panic!("{verdict:?}") };
    assert!(cloud.view.port(member).name.starts_with("web-"));
    assert_eq!(
        kinds(&walk),
        [
            PortKind,
            Bridge,
            PortKind,
            PortKind,
            RouterKind,
            LoadBalancer,
            Pool,
            PortKind,
            PortKind,
            Bridge,
            PortKind
        ]
    );
    assert_eq!(packet.dst, cloud.address(member));
    // What was sent elsewhere by translation gets the router's address, so that it comes back by the router.
    assert!(packet.src.to_string().starts_with("198.18."));
    let (nats, mut answer) = (walk.nats.clone(), back(&packet));
    assert_eq!(
        cloud.view.simulate(member, &mut answer, &nats, 0, 0, &mut walk),
        Verdict::Forwarded(client)
    );
    assert_eq!(
        (answer.src, answer.src_port, answer.dst, answer.dst_port),
        (start.dst, start.dst_port, start.src, start.src_port)
    );
}

#[test]
fn meters_count_each_device_on_the_way_once_per_occurrence() {
    use midonet::meters::MeterKey;
    let cloud = Cloud::new();
    let (app, db) = (cloud.vm(0, 0, Role::App), cloud.vm(0, 0, Role::Db));
    let mut walk = Walk::default();
    let mut packet = cloud.packet(app, cloud.view.port(db).mac, cloud.address(db), 5432);
    cloud.view.simulate(app, &mut packet, &[], 0, 0, &mut walk);
    let (from, to) = (cloud.view.port(app).id, cloud.view.port(db).id);
    assert_eq!(walk.meters[..2], [MeterKey::Device(from), MeterKey::PortRx(from)]);
    assert!(walk.meters.contains(&MeterKey::PortTx(to)) && walk.meters.contains(&MeterKey::Device(to)));
    let devices = walk.meters.iter().filter(|key| matches!(key, MeterKey::Device(_))).count();
    assert_eq!(devices, walk.devices.len());
}

#[test]
fn a_tenants_prefixes_may_be_those_of_another() {
    let cloud = Cloud::new();
    let first = |tenant: usize| cloud.address(cloud.vm(tenant, 0, Role::App));
    assert_eq!(first(0), first(4));
}
