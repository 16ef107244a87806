// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.cluster.services;

import com.google.inject.Inject;

import org.midonet.cluster.ClusterConfig;
import org.midonet.minion.Minion;
import org.midonet.minion.MinionService;
import org.midonet.minion.MinionService.TargetNode;
import org.midonet.minion.package$Context;

/** A second minion, so that ours is one among others. */
@MinionService(name = "heartbeat", runsOn = TargetNode.CLUSTER)
public class Heartbeat extends Minion {
    private final ClusterConfig config;

    @Inject
    public Heartbeat(package$Context context, ClusterConfig config) {
        super(context);
        this.config = config;
    }

    @Override
    public boolean isEnabled() {
        return config.conf().getBoolean("cluster.heartbeat.enabled");
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
