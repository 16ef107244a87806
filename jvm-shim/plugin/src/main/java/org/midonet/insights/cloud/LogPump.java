// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

import org.slf4j.Logger;

/**
 * Fetches the library's log lines and gives them to slf4j, from a daemon thread: a thread of the library that came to us with its
 * lines would hold the JVM open at its exit.
 */
final class LogPump {
    /** How long a call waits in the library; the longest that the end of the pump is late. */
    private static final long WAIT_MILLIS = 250;
    /** Pause after a failure, so that one that stays does not fill the log. */
    private static final long PAUSE_MILLIS = 1_000;

    private final Logger log = InsightsMinion.LOG;
    private final NativeGateway gateway;
    private final Thread thread = new Thread(this::run, "insights-log");
    private volatile boolean finishing;

    LogPump(NativeGateway gateway) {
        this.gateway = gateway;
        thread.setDaemon(true);
    }

    void start() {
        thread.start();
    }

    /** Ends the pump when all lines that wait have been written, or when the time is up. */
    void finish(long millis) {
        finishing = true;
        try {
            thread.join(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void run() {
        while (true) {
            try {
                // Read before the line is asked for: one that came before the end is still fetched.
                boolean last = finishing;
                byte[] line = gateway.nextLog(level(), last ? 0 : WAIT_MILLIS);
                if (line != null) {
                    write(line);
                } else if (last) {
                    return;
                }
            } catch (Throwable t) {
                if (finishing || !pause(t)) {
                    return;
                }
            }
        }
    }

    /** Writes a line: level, length of the target (2 bytes), target, message. */
    private void write(byte[] line) {
        ByteBuffer bytes = ByteBuffer.wrap(line);
        int level = bytes.get();
        int length = bytes.getShort() & 0xffff;
        String target = new String(line, bytes.position(), length, StandardCharsets.UTF_8);
        int start = bytes.position() + length;
        String message = new String(line, start, line.length - start, StandardCharsets.UTF_8);
        if (level >= 4) {
            // Such lines are for those who know the modules.
            message = target + ": " + message;
        }
        if (level == 1) {
            log.error(message);
        } else if (level == 2) {
            log.warn(message);
        } else if (level == 4 && log.isDebugEnabled()) {
            log.debug(message);
        } else if (level == 5 && log.isTraceEnabled()) {
            log.trace(message);
        } else {
            // Also what is more detailed than our level: the library gives it only when the service asked for it.
            log.info(message);
        }
    }

    /** The most detailed level that is written: 0 off, 1 error … 5 trace. It can change at any time. */
    private int level() {
        if (log.isTraceEnabled()) {
            return 5;
        } else if (log.isDebugEnabled()) {
            return 4;
        } else if (log.isInfoEnabled()) {
            return 3;
        } else if (log.isWarnEnabled()) {
            return 2;
        }
        return log.isErrorEnabled() ? 1 : 0;
    }

    private boolean pause(Throwable t) {
        try {
            log.warn("Fetch a log line of the gateway", t);
            Thread.sleep(PAUSE_MILLIS);
            return true;
        } catch (Throwable again) {
            return false;
        }
    }
}
