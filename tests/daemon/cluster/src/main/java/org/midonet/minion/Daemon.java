// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.minion;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.TimeUnit;

import com.google.common.util.concurrent.AbstractService;
import com.google.inject.Injector;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import scala.concurrent.Await;
import scala.concurrent.ExecutionContext;
import scala.concurrent.Future;
import scala.concurrent.duration.Duration;
import scala.runtime.AbstractFunction0;

/**
 * Starts the minions as MidoNet's daemon does: each in a Scala future on the cluster's pool, 15 s of waiting for each in the order
 * of the list, a time-out fatal, a failure not, unless all fail. Stops them one after the other, without a limit.
 *
 * <p>The future is Scala's own because it decides what becomes of an error: one that Scala takes as fatal, such as a LinkageError,
 * never completes it.
 */
public final class Daemon extends AbstractService {
    private static final Logger LOG = LoggerFactory.getLogger("org.midonet.minion");
    private static final Duration START_LIMIT = Duration.apply(15, TimeUnit.SECONDS);

    private final UUID nodeId;
    private final ExecutorService executor;
    private final Map<String, Class<? extends Minion>> minions;
    private final Injector injector;

    public Daemon(UUID nodeId, ExecutorService executor, Map<String, Class<? extends Minion>> minions, Injector injector) {
        this.nodeId = nodeId;
        this.executor = executor;
        this.minions = minions;
        this.injector = injector;
    }

    @Override
    protected void doStart() {
        LOG.info("MidoNet cluster daemon starting on host {}", nodeId);
        ExecutionContext context = scala.concurrent.ExecutionContext$.MODULE$.fromExecutor(executor);
        List<Future<Minion>> starts = new ArrayList<>();
        for (Map.Entry<String, Class<? extends Minion>> minion : minions.entrySet()) {
            starts.add(scala.concurrent.Future$.MODULE$.apply(new AbstractFunction0<Minion>() {
                @Override
                public Minion apply() {
                    return start(minion.getKey(), minion.getValue());
                }
            }, context));
        }
        int failed = 0;
        for (Future<Minion> start : starts) {
            try {
                Await.ready(start, START_LIMIT);
            } catch (Exception e) {
                // As in MidoNet, where nobody catches it: the service fails and with it the process.
                throw new IllegalStateException(e);
            }
            if (start.value().get().isFailure()) {
                failed++;
            }
        }
        if (failed == minions.size()) {
            LOG.error("No minions started. Check MidoNet cluster config file to ensure that some services are enabled, and check"
                + " possible failures in enabled minions.");
            notifyFailed(new IllegalStateException("No minions enabled"));
            return;
        }
        if (failed > 0) {
            LOG.info("Not all Cluster minions were started, continuing with survivors");
        }
        notifyStarted();
    }

    @Override
    protected void doStop() {
        LOG.info("Daemon terminates..");
        for (Map.Entry<String, Class<? extends Minion>> entry : minions.entrySet()) {
            Minion minion = injector.getInstance(entry.getValue());
            if (!minion.isRunning()) {
                continue;
            }
            try {
                LOG.info("Terminating minion: {}", entry.getKey());
                minion.stopAsync().awaitTerminated();
            } catch (Throwable t) {
                LOG.warn("Failed to stop minion " + entry.getKey(), t);
                notifyFailed(t);
            }
        }
        if (state() != State.FAILED) {
            notifyStopped();
        }
    }

    private Minion start(String name, Class<? extends Minion> type) {
        try {
            Minion minion = injector.getInstance(type);
            if (minion.isEnabled()) {
                LOG.info("Starting cluster minion: {}", name);
                minion.startAsync().awaitRunning();
                LOG.info("Started cluster minion: {}", name);
            } else {
                LOG.info("Cluster minion is disabled: {}", name);
            }
            // MidoNet asks a second time.
            if (minion.isEnabled()) {
                LOG.info("Minion {} started successfully", name);
            }
            return minion;
        } catch (RuntimeException e) {
            LOG.error("Minion failed to start", e);
            throw e;
        }
    }
}
