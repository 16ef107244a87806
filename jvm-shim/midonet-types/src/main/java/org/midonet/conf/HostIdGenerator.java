// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.conf;

import java.util.UUID;

/** The identity of this machine in MidoNet. */
public final class HostIdGenerator {
    private static final UUID ID = UUID.fromString("6e3a9c52-0b1d-4f5e-8a77-0c2f5d1b9e44");

    private HostIdGenerator() {
    }

    /** MidoNet's own reads a file, writes it when it is absent, and throws a checked exception when it can't. */
    public static UUID getHostId() {
        return ID;
    }
}
