// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The declared fields of MidoNet's messages. Same in all releases from 5.4.1 to 5.6 but for more values of `Protocol`, which are included.

mod commons;
mod lbaas;
mod neutron;
mod state;
mod topology;

use super::{Class, Enum, Field, FieldKind};

/// Every message that is declared, stored or not.
pub(super) fn messages() -> impl Iterator<Item = &'static Class> {
    [topology::MESSAGES, neutron::MESSAGES, lbaas::MESSAGES, commons::MESSAGES, state::MESSAGES]
        .into_iter()
        .flatten()
        .copied()
}

/// Every enum that is declared.
pub(super) fn enums() -> impl Iterator<Item = &'static Enum> {
    [topology::ENUMS, neutron::ENUMS, lbaas::ENUMS, commons::ENUMS, state::ENUMS]
        .into_iter()
        .flatten()
        .copied()
}

const fn stored(name: &'static str, fields: &'static [Field]) -> Class {
    Class { name, stored: true, fields }
}

const fn nested(name: &'static str, fields: &'static [Field]) -> Class {
    Class { name, stored: false, fields }
}

const fn enumeration(name: &'static str, values: &'static [(&'static str, i32)]) -> Enum {
    Enum { name, values }
}

const fn opt(name: &'static str, number: u32, kind: FieldKind) -> Field {
    Field {
        name,
        number,
        kind,
        repeated: false,
        default: None,
    }
}

const fn rep(name: &'static str, number: u32, kind: FieldKind) -> Field {
    Field {
        name,
        number,
        kind,
        repeated: true,
        default: None,
    }
}

impl Field {
    const fn or(self, default: &'static str) -> Field {
        Field {
            default: Some(default),
            ..self
        }
    }
}
