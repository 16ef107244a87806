// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.cluster.services;

import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

import com.google.common.util.concurrent.AbstractService;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.midonet.cluster.storage.MidonetBackendConfig;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The connection to ZooKeeper, with MidoNet's habit of ending the process when its session is gone. */
public class MidonetBackend extends AbstractService {
    private static final Logger LOG = LoggerFactory.getLogger("org.midonet.nsdb");
    private static final int GRACE_EXPIRED = 7453;
    private static final int SESSION_EXPIRED = 7454;

    private final MidonetBackendConfig config;
    private final CuratorFramework curator;
    private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "nsdb-grace");
        thread.setDaemon(true);
        return thread;
    });
    private ScheduledFuture<?> grace;

    public MidonetBackend(MidonetBackendConfig config) {
        this.config = config;
        this.curator = CuratorFrameworkFactory.builder()
            .connectString(config.hosts())
            .sessionTimeoutMs(config.sessionTimeout())
            .retryPolicy(new ExponentialBackoffRetry(1000, 10))
            .build();
    }

    public CuratorFramework curator() {
        return curator;
    }

    @Override
    protected void doStart() {
        curator.getConnectionStateListenable().addListener((client, state) -> changed(state));
        curator.start();
        notifyStarted();
    }

    @Override
    protected void doStop() {
        timer.shutdownNow();
        curator.close();
        notifyStopped();
    }

    private synchronized void changed(ConnectionState state) {
        if (state == ConnectionState.SUSPENDED) {
            LOG.warn("Connection to ZooKeeper suspended");
            grace = timer.schedule(() -> exit(GRACE_EXPIRED), config.graceTime(), TimeUnit.MILLISECONDS);
        } else if (state == ConnectionState.LOST) {
            exit(SESSION_EXPIRED);
        } else if (grace != null) {
            LOG.info("Connection to ZooKeeper is back");
            grace.cancel(false);
            grace = null;
        }
    }

    private static void exit(int status) {
        LOG.error("Connection to ZooKeeper lost: exiting with {}", status);
        // Not from this thread, which the exit's hooks wait for.
        new Thread(() -> System.exit(status), "exit").start();
    }
}
