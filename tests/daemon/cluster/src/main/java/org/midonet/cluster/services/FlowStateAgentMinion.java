// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.cluster.services;

import org.midonet.minion.Minion;
import org.midonet.minion.MinionService;
import org.midonet.minion.MinionService.TargetNode;

/** A minion of the agent, which is in the cluster's jar too, and passed over there. */
@MinionService(name = "flow-state", runsOn = TargetNode.AGENT)
public class FlowStateAgentMinion extends Minion {
    public FlowStateAgentMinion() {
        super(null);
    }

    @Override
    public boolean isEnabled() {
        return true;
    }

    @Override
    protected void doStart() {
        notifyStarted();
    }

    @Override
    protected void doStop() {
        notifyStopped();
    }
}
