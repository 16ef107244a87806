// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Predicate;
import java.util.stream.Collectors;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.AppenderBase;

import org.slf4j.LoggerFactory;

/** Reads along what the minion logs. */
final class Log extends AppenderBase<ILoggingEvent> implements AutoCloseable {
    private static final long LIMIT_MILLIS = 10_000;

    private final List<ILoggingEvent> events = new CopyOnWriteArrayList<>();
    private final Logger logger = (Logger) LoggerFactory.getLogger("org.midonet.cluster.services.insights");

    Log(Level level) {
        level(level);
        logger.setAdditive(false);
        setContext(logger.getLoggerContext());
        start();
        logger.addAppender(this);
    }

    void level(Level level) {
        logger.setLevel(level);
    }

    @Override
    protected void append(ILoggingEvent event) {
        events.add(event);
    }

    @Override
    public void close() {
        logger.detachAppender(this);
    }

    /** The lines at a level. */
    List<String> at(Level level) {
        return events.stream().filter(event -> event.getLevel() == level).map(ILoggingEvent::getFormattedMessage).collect(Collectors.toList());
    }

    /** Waits for a line and returns it. */
    ILoggingEvent await(Predicate<ILoggingEvent> wanted) throws InterruptedException {
        for (long end = System.currentTimeMillis() + LIMIT_MILLIS; System.currentTimeMillis() < end; Thread.sleep(10)) {
            for (ILoggingEvent event : events) {
                if (wanted.test(event)) {
                    return event;
                }
            }
        }
        throw new AssertionError("no such line among " + all());
    }

    List<String> all() {
        List<String> lines = new ArrayList<>();
        for (ILoggingEvent event : events) {
            lines.add(event.getLevel() + " " + event.getFormattedMessage());
        }
        return lines;
    }
}
