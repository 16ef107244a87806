// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.minion;

import java.util.UUID;

/** What a minion may want to know of its node. Named as MidoNet's Scala compiler names it. */
public final class package$Context {
    private final UUID nodeId;

    public package$Context(UUID nodeId) {
        this.nodeId = nodeId;
    }

    public UUID nodeId() {
        return nodeId;
    }
}
