// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Ids that MidoNet's translators derive from other ids, so that Neutron and MidoNet objects can be joined without a link between them.
//!
//! Source: `UUIDUtil.xorWith` and the translators of the cluster.

use uuid::Uuid;

/// Version and variant bits of an id are kept by the derivation.
const MSB_MASK: u64 = 0xffff_ffff_ffff_0fff;
const LSB_MASK: u64 = 0x3fff_ffff_ffff_ffff;

/// The router port behind a Neutron port with owner ROUTER_INTERFACE.
pub fn router_interface_port(neutron_port: Uuid) -> Uuid {
    xor(neutron_port, 0x9c30_300e_c91f_4f19, 0x8844_9d37_e61b_60f0)
}

/// The tenant router's port behind its gateway port (`NeutronRouter.gw_port_id`).
pub fn tenant_gateway_port(gateway_port: Uuid) -> Uuid {
    xor(gateway_port, 0xd3a4_5084_502f_4366, 0x9fd7_d26c_c756_6972)
}

/// The router port of the BGP container of a router.
pub fn bgp_container_port(router: Uuid) -> Uuid {
    xor(router, 0xff49_8a4c_2239_0ae3, 0x3e3e_c848_baff_217d)
}

/// The port group of the uplink ports of an edge router.
pub fn router_port_group(router: Uuid) -> Uuid {
    xor(router, 0x3fb3_0e76_9f50_41f1, 0xa50c_3c4f_b09a_6a18)
}

/// The load balancer (LBaaS v1) of a router.
pub fn router_load_balancer(router: Uuid) -> Uuid {
    xor(router, 0xaab2_c5de_a7bc_8dea, 0x2ac7_bb03_71ee_e6d7)
}

/// The internal router of a load balancer (LBaaS v2).
pub fn load_balancer_router(load_balancer: Uuid) -> Uuid {
    xor(load_balancer, 0xed12_25ed_7399_45ea, 0x8fd9_72a2_6f18_632f)
}

fn xor(id: Uuid, msb: u64, lsb: u64) -> Uuid {
    let (high, low) = id.as_u64_pair();
    Uuid::from_u64_pair(high ^ (msb & MSB_MASK), low ^ (lsb & LSB_MASK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Uuid {
        text.parse().unwrap()
    }

    #[test]
    fn check_values() {
        let u = id("11111111-2222-4333-8444-555555555555");
        assert_eq!(tenant_gateway_port(u), id("c2b54195-720d-4055-9b93-873992033c27"));
        assert_eq!(router_interface_port(u), id("8d21211f-eb3d-4c2a-8c00-c862b34e35a5"));
    }

    #[test]
    fn every_derivation_is_its_own_inverse_and_keeps_version_and_variant() {
        let u = id("83c34a88-9738-54e2-88d4-105611e450a5");
        for derive in [
            router_interface_port,
            tenant_gateway_port,
            bgp_container_port,
            router_port_group,
            router_load_balancer,
            load_balancer_router,
        ] {
            let derived = derive(u);
            assert_ne!(derived, u);
            assert_eq!(derive(derived), u);
            assert_eq!(derived.get_version_num(), u.get_version_num());
            assert_eq!(derived.get_variant(), u.get_variant());
        }
    }
}
