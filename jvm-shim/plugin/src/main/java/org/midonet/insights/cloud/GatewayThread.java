// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * The thread that loads the library, starts the gateway, waits until it is to stop, and stops it. All of it may block or fail
 * without harm to others: the thread is a daemon, and nobody waits for it longer than he wants.
 */
final class GatewayThread {
    /** What the gateway has to bring its work to disk. */
    private static final long NATIVE_STOP_MILLIS = 2_000;
    /** What the log has to run dry after that. */
    private static final long LOG_MILLIS = 500;

    private final Callable<byte[]> configuration;
    private final Callable<NativeGateway> library;
    private final Consumer<Throwable> failed;
    private final CountDownLatch stop = new CountDownLatch(1);
    private final CountDownLatch ended = new CountDownLatch(1);

    /**
     * @param configuration gives the configuration of the gateway, as JSON
     * @param library loads the library
     * @param failed told why the gateway could not be started or stopped
     */
    GatewayThread(Callable<byte[]> configuration, Callable<NativeGateway> library, Consumer<Throwable> failed) {
        this.configuration = configuration;
        this.library = library;
        this.failed = failed;
    }

    void start() {
        boolean started = false;
        try {
            Thread thread = new Thread(this::run, "insights-gateway");
            thread.setDaemon(true);
            thread.start();
            started = true;
        } finally {
            if (!started) {
                ended.countDown();
            }
        }
    }

    /** May be called at any time; also a start that is under way is ended. */
    void requestStop() {
        stop.countDown();
    }

    /** Whether all has ended before the time is up. */
    boolean awaitEnd(long millis) throws InterruptedException {
        return ended.await(millis, TimeUnit.MILLISECONDS);
    }

    private void run() {
        LogPump log = null;
        try {
            byte[] json = configuration.call();
            NativeGateway gateway = library.call();
            log = new LogPump(gateway);
            log.start();
            long handle = gateway.start(json);
            stop.await();
            if (InsightsMinion.LOG.isDebugEnabled()) {
                InsightsMinion.LOG.debug("Stopping with {}", new String(gateway.statistics(handle), StandardCharsets.UTF_8));
            }
            gateway.stop(handle, NATIVE_STOP_MILLIS);
        } catch (Throwable t) {
            failed.accept(t);
        } finally {
            if (log != null) {
                log.finish(LOG_MILLIS);
            }
            ended.countDown();
        }
    }
}
