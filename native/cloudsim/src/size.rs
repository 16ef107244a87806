// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! How large a simulated cloud is.

use clap::{Args, ValueEnum};

/// Most VMs of a network: what its /24 has room for beside gateway, DHCP and virtual addresses.
pub const MAX_VMS_PER_NETWORK: u32 = 220;
/// Most hosts: the addresses of the underlay's /16 that are used.
pub const MAX_HOSTS: u32 = 60_000;

/// A size by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Preset {
    /// 5 tenants, 8 hosts, 60 VMs, 1,410 objects
    Small,
    /// 30 tenants, 43 hosts, 600 VMs, 12,340 objects
    Medium,
    /// 250 tenants, 254 hosts, 5,000 VMs, 102,356 objects
    Large,
}

/// The size of a cloud: a preset, and numbers that replace parts of it.
#[derive(Args, Clone, Debug)]
pub struct SizeArgs {
    /// How large the cloud is
    #[arg(long, value_enum, default_value_t = Preset::Small)]
    pub size: Preset,
    /// Tenants, in place of the size's number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub tenants: Option<u32>,
    /// Compute hosts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub hosts: Option<u32>,
    /// Gateway hosts, each with an uplink
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub gateways: Option<u32>,
    /// Networks of each tenant
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub networks: Option<u32>,
    /// VMs on each network
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_VMS_PER_NETWORK)))]
    pub vms: Option<u32>,
}

/// Numbers of things.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    pub tenants: u32,
    pub hosts: u32,
    pub gateways: u32,
    pub networks: u32,
    pub vms: u32,
}

impl Size {
    pub const SMALL: Size = size(5, 6, 2, 2, 6);
    const MEDIUM: Size = size(30, 40, 3, 2, 10);
    const LARGE: Size = size(250, 250, 4, 2, 10);

    /// VMs on all networks of all tenants.
    pub fn total_vms(&self) -> u32 {
        self.tenants * self.networks * self.vms
    }
}

impl From<&SizeArgs> for Size {
    fn from(args: &SizeArgs) -> Size {
        let preset = match args.size {
            Preset::Small => Size::SMALL,
            Preset::Medium => Size::MEDIUM,
            Preset::Large => Size::LARGE,
        };
        Size {
            tenants: args.tenants.unwrap_or(preset.tenants),
            hosts: args.hosts.unwrap_or(preset.hosts),
            gateways: args.gateways.unwrap_or(preset.gateways),
            networks: args.networks.unwrap_or(preset.networks),
            vms: args.vms.unwrap_or(preset.vms),
        }
    }
}

const fn size(tenants: u32, hosts: u32, gateways: u32, networks: u32, vms: u32) -> Size {
    Size {
        tenants,
        hosts,
        gateways,
        networks,
        vms,
    }
}
