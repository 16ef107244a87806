// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.misfits;

import org.midonet.minion.MinionService;
import org.midonet.minion.MinionService.TargetNode;

/** Fails to start. */
@MinionService(name = "misfit", runsOn = TargetNode.CLUSTER)
public class Throwing extends Misfit {
    @Override
    protected void doStart() {
        throw new UnsatisfiedLinkError("no library");
    }
}
