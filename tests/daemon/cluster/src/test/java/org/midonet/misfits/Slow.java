// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.misfits;

import org.midonet.minion.MinionService;
import org.midonet.minion.MinionService.TargetNode;

/** Takes longer to start than the daemon waits. */
@MinionService(name = "misfit", runsOn = TargetNode.CLUSTER)
public class Slow extends Misfit {
    @Override
    protected void doStart() {
    }
}
