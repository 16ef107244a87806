// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Ids that MidoNet's translators derive, beyond those that readers need (`midonet::ids`).
//!
//! Source: `UUIDUtil.xorWith`, `ChainManager`, `RouteManager`, `RouterTranslator`, `RouterInterfaceTranslator`, `PortTranslator` of MidoNet
//! 5.4.1; checked against the golden cloud.

use std::net::IpAddr;

use uuid::Uuid;

pub use midonet::ids::{router_interface_port, router_load_balancer, router_port_group, tenant_gateway_port};

/// Version and variant bits of an id are kept by a derivation.
const MSB_MASK: u64 = 0xffff_ffff_ffff_0fff;
const LSB_MASK: u64 = 0x3fff_ffff_ffff_ffff;

macro_rules! derived {
    ($($(#[$doc:meta])* $name:ident = $msb:literal, $lsb:literal;)+) => {
        $($(#[$doc])* pub fn $name(owner: Uuid) -> Uuid { xor(owner, $msb, $lsb) })+
    };
}

derived! {
    /// Inbound chain of a port, pre-routing chain of a router, egress chain of a security group.
    in_chain = 0xc84d_b1f7_3554_442b, 0x8e7b_38f2_c703_ee6a;
    /// Outbound chain of a port, post-routing chain of a router, ingress chain of a security group.
    out_chain = 0x0209_40fb_2cac_401e, 0x9ffa_f9c0_5d04_b524;
    forward_chain = 0xd90b_1cee_bd1b_f51e, 0xb5e5_dab5_476a_db8a;
    float_snat_exact_chain = 0xbf4b_a34a_4efd_bf71, 0x590e_4153_4b13_1c9b;
    float_snat_chain = 0xba66_1b9d_bba3_22af, 0x5eff_18f9_c1de_2512;
    skip_snat_chain = 0x77e5_2b9e_a61a_ae18, 0xcf5e_9a5f_30de_b1fb;
    float_nat64_chain = 0x46da_815f_6c66_4a20, 0x0042_ff94_6a15_adda;
    anti_spoof_chain = 0x0a7b_611c_fe73_34fe, 0xbbac_78cf_e412_ad35;
    /// The jump from a port's inbound chain to its anti-spoofing chain.
    anti_spoof_jump_rule = 0x4bce_f582_eeae_45ac, 0xb030_4fc7_e7b3_ba0d;
    /// The second rule of a security group rule with ports, for later fragments.
    non_header_rule = 0x9337_33b5_db0f_5cce, 0xeaa6_31e8_b0b3_4cef;
    router_interface_port_group = 0x77e7_c2e6_ed0d_bab5, 0x2454_99db_ae09_aa26;

    out_snat_rule = 0x68fd_6d8b_bd33_43d8, 0x9909_aa4a_d4b6_91d8;
    out_drop_unmatched_fragments_rule = 0xbac9_7789_e63e_4663, 0xa009_89d3_41c8_636f;
    in_reverse_snat_rule = 0x928e_b605_e3e0_4119, 0x8c40_e4ca_9076_9cf4;
    in_drop_wrong_port_rule = 0xb807_509d_2fa0_4b9e, 0x96b1_f45a_04e6_d128;
    dst_rewritten_snat_rule = 0xf5d3_9101_f043_1a3e, 0xdd7a_9236_bf83_a3e7;
    skip_snat_out_gateway_rule = 0x6f90_386f_458e_12ff, 0x6ec1_4164_bde7_cee6;
    skip_snat_in_gateway_rule = 0x6a68_eaca_ec7e_7075, 0xa21d_868b_7315_973b;
    skip_snat_accept_rule = 0x9483_a5a9_8a00_98fb, 0xb6fa_7a44_027c_7faa;

    fip_snat_rule = 0xf515_a8fd_119a_4b82, 0x81e9_b793_d68a_3b9e;
    fip_snat_exact_rule = 0xfaba_87a8_b7a8_50ac, 0x52c7_48d4_a902_f277;
    fip_dnat_rule = 0xe40c_77c1_8869_4ac0, 0x9a8e_6c18_63e2_232e;
    fip_skip_snat_out_rule = 0x30ed_dc1f_ede9_b578, 0x1df2_1b73_2ecf_45af;
    fip_skip_snat_in_rule = 0x7b37_aca8_3867_e33a, 0xc52b_8965_e7d9_cf14;
}

/// The SNAT rule of traffic that comes from and goes to the same router port, in this chain.
pub fn same_subnet_snat_rule(chain: Uuid, port: Uuid) -> Uuid {
    let (msb, lsb) = port.as_u64_pair();
    xor(xor(chain, msb, lsb), 0x3bcf_2eb6_4be2_11e5, 0x84ae_0242_ac11_0003)
}

/// The route to a router port's own address.
pub fn local_route(port: Uuid, address: IpAddr) -> Uuid {
    xor_text(xor(port, 0x13bd_079b_6c0e_43fb, 0x80fe_647e_6e71_8b72), address)
}

/// A tenant router's default route.
pub fn gateway_route(port: Uuid, address: IpAddr) -> Uuid {
    xor_text(xor(port, 0x6ba5_df84_b8a4_4ab4, 0x90ad_b3f6_65e7_850d), address)
}

/// The route to the subnet of a router port.
pub fn interface_route(port: Uuid, address: IpAddr) -> Uuid {
    xor_text(xor(port, 0xb288_abe0_c574_4762, 0xb3a0_4b12_442b_b179), address)
}

/// The route to the metadata service.
pub fn metadata_route(port: Uuid, address: IpAddr) -> Uuid {
    xor_text(xor(port, 0xa013_2e5a_1583_461c, 0xa752_d860_9a51_7a6c), address)
}

fn xor(id: Uuid, msb: u64, lsb: u64) -> Uuid {
    let (high, low) = id.as_u64_pair();
    Uuid::from_u64_pair(high ^ (msb & MSB_MASK), low ^ (lsb & LSB_MASK))
}

/// Mixes the text of an address in, as a pair of 31-hashes of its first sixteen characters.
fn xor_text(id: Uuid, address: IpAddr) -> Uuid {
    let text = crate::obj::address_text(address);
    let hash = |bytes: &[u8]| bytes.iter().fold(1u64, |hash, &byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let bytes = text.as_bytes();
    let (first, rest) = bytes.split_at(bytes.len().min(8));
    xor(id, hash(first), hash(&rest[..rest.len().min(8)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Uuid {
        text.parse().unwrap()
    }

    #[test]
    fn golden_values() {
        let port = id("cfe1c412-a269-5dac-9bf3-a11968aa9dee");
        let address: IpAddr = "10.0.1.1".parse().unwrap();
        assert_eq!(local_route(port, address), id("dc5cc183-7ca5-533f-9b0d-c56706db169d"));
        assert_eq!(interface_route(port, address), id("7d696df8-d5df-57a6-a853-ea0b2c812c96"));
        assert_eq!(metadata_route(port, address), id("6ff2e842-0528-56d8-bca1-7979f2fbe783"));
        let gateway = id("76bf4702-ebf0-5ad9-b14b-3bb685a6df9c");
        assert_eq!(
            gateway_route(gateway, "198.51.100.20".parse().unwrap()),
            id("1d1a9a8a-cc85-5813-a1e6-8840e42e9f1a")
        );
        let chain = id("81ca0a73-bb94-54fc-972e-e9964ce0e581");
        assert_eq!(same_subnet_snat_rule(chain, port), id("75e4e0d7-521f-58b5-8873-4acd885b786c"));
    }
}
