// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import java.util.concurrent.Callable;

import com.google.inject.Inject;
import com.google.inject.Injector;

import org.midonet.minion.Minion;
import org.midonet.minion.MinionService;
import org.midonet.minion.MinionService.TargetNode;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The minion {@code insights} of the MidoNet Cluster: starts and stops the gateway, which is native.
 *
 * <p>An error here can take the whole cluster node down, so this class does as little as it can. Guice and the daemon look at its
 * signatures: they name only classes without which there would be no daemon, and what else is needed of MidoNet is asked for later,
 * where a failure is caught ({@link Settings}). It is final because MidoNet's scan falls over subclasses of annotated classes.
 */
@MinionService(name = "insights", runsOn = TargetNode.CLUSTER)
public final class InsightsMinion extends Minion {
    static final Logger LOG = LoggerFactory.getLogger("org.midonet.cluster.services.insights");

    /** Longest stop. Upstart kills the daemon 5 s after it asks it to stop, and the other minions need some of them. */
    private static final long STOP_MILLIS = 2_800;

    private final Injector injector;
    private final GatewayThread gateway;

    @Inject
    public InsightsMinion(Injector injector) {
        this(injector, NativeGateway::load);
    }

    InsightsMinion(Injector injector, Callable<NativeGateway> library) {
        super(null);
        this.injector = injector;
        this.gateway = new GatewayThread(() -> Settings.json(injector), library, this::failed);
    }

    /** Asked several times at each start, on threads of the cluster: reads one key of a tree that is in memory. */
    @Override
    public boolean isEnabled() {
        try {
            return Settings.enabled(injector);
        } catch (Throwable t) {
            // The start reads the same configuration, fails in the same way, and says so.
            return true;
        }
    }

    /** Returns at once: the daemon ends the whole node when a minion takes 15 s. */
    @Override
    protected void doStart() {
        LOG.info("Starting Insights Cluster service...");
        notifyStarted();
        try {
            gateway.start();
        } catch (Throwable t) {
            failed(t);
        }
    }

    /** Returns at once, and is stopped within {@link #STOP_MILLIS}, even if the gateway is not. */
    @Override
    protected void doStop() {
        gateway.requestStop();
        try {
            Thread stopper = new Thread(this::awaitStop, "insights-stop");
            stopper.setDaemon(true);
            stopper.start();
        } catch (Throwable t) {
            notifyStopped();
        }
    }

    private void awaitStop() {
        try {
            if (!gateway.awaitEnd(STOP_MILLIS)) {
                LOG.warn("The gateway did not stop within {} ms; it ends with the process", STOP_MILLIS);
            }
        } catch (Throwable t) {
            LOG.warn("Wait for the gateway to stop", t);
        } finally {
            // A failure at this very moment may have been the end already.
            if (state() == State.STOPPING) {
                notifyStopped();
            }
        }
    }

    /** Called when the gateway can't be started; the cluster goes on without it. */
    private void failed(Throwable t) {
        if (t instanceof NativeGateway.Unusable || t instanceof IllegalStateException || t instanceof IllegalArgumentException) {
            // Its message is for the operator, and a stack would hide it.
            LOG.error("Insights Cluster service not started: {}", t.getMessage());
        } else {
            LOG.error("Insights Cluster service not started", t);
        }
        if (isRunning()) {
            notifyFailed(t);
        }
    }
}
