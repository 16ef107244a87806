// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Collections;

import ch.qos.logback.classic.Level;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The library with the test hooks: what the product must survive. */
class PanicIT {
    @TempDir
    Path folder;
    private final TestHooks hooks = new TestHooks();
    private Log log;
    private InsightsMinion minion;

    @BeforeEach
    void setUp() {
        System.setProperty(NativeGateway.LIBRARY_PROPERTY, Libraries.withHooks());
        log = new Log(Level.INFO);
        minion = Site.injector(folder, "").getInstance(InsightsMinion.class);
        minion.startAsync().awaitRunning();
    }

    /** After all that happened, a stop goes through and the library still works. */
    @AfterEach
    void tearDown() throws Exception {
        minion.stopAsync().awaitTerminated();
        NativeGateway gateway = NativeGateway.load();
        gateway.stop(gateway.start(Settings.json(Site.injector(folder, ""))), 2_000);
        log.close();
    }

    @Test
    void aPanicInACallIsAnExceptionAndALine() throws Exception {
        awaitLibrary();
        check(TestHooks.LITERAL, "native panic: a literal", "a literal");
        check(TestHooks.FORMATTED, "native panic: formatted: 1", "formatted: 1");
        check(TestHooks.WITHOUT_TEXT, "native panic: panic without a text", "panic without a text");
        check(TestHooks.PANICS_AGAIN, "native panic: panic without a text", "panic in the drop of a payload");
    }

    @Test
    void aPanicOfAWorkerIsALine() throws Exception {
        awaitLibrary();
        hooks.panicOnWorker(42);
        String line = log.await(event -> event.getLevel() == Level.ERROR).getFormattedMessage();
        assertTrue(line.matches("(?s)panic at .*midonet_insights_hooks\\.rs:\\d+:\\d+, thread insights-worker: worker failed at 42(\n.*)?"), line);
        assertEquals(com.google.common.util.concurrent.Service.State.RUNNING, minion.state());
    }

    @Test
    void aFloodOfLinesIsCountedWhereItIsCut() throws Exception {
        awaitLibrary();
        hooks.flood(3, 200_000);
        String line = log.await(event -> event.getLevel() == Level.WARN && event.getFormattedMessage().contains("log lines dropped")).getFormattedMessage();
        assertTrue(line.matches("\\d+ log lines dropped: they came faster than they could be written"), line);
    }

    /** The level can be set while the cluster runs, as {@code cluster.loggers} does. */
    @Test
    void theLevelOfTheLoggerReachesTheLibrary() throws Exception {
        awaitLibrary();
        hooks.flood(4, 1);
        hooks.flood(2, 1);
        log.await(event -> event.getLevel() == Level.WARN && event.getFormattedMessage().equals("line 0"));
        assertEquals(Collections.emptyList(), log.at(Level.DEBUG));
        log.level(Level.DEBUG);
        long end = System.currentTimeMillis() + 10_000;
        while (!log.at(Level.DEBUG).contains("insights_gateway::test: line 0") && System.currentTimeMillis() < end) {
            hooks.flood(4, 1);
            Thread.sleep(50);
        }
        assertTrue(log.at(Level.DEBUG).contains("insights_gateway::test: line 0"), log.all().toString());
        assertEquals(Collections.emptyList(), log.at(Level.TRACE));
    }

    private void check(int kind, String exception, String line) throws Exception {
        RuntimeException thrown = assertThrows(RuntimeException.class, () -> hooks.panicInCall(kind));
        assertEquals(exception, thrown.getMessage());
        assertEquals(RuntimeException.class, thrown.getClass());
        log.await(event -> event.getLevel() == Level.ERROR && event.getFormattedMessage().matches("(?s)panic at .*midonet_insights_hooks\\.rs.*: " + line + ".*"));
    }

    /** Until the minion's thread has loaded the library. */
    private void awaitLibrary() throws InterruptedException {
        for (int i = 0; i < 500 && !Threads.ofMinion().contains("insights-log"); i++) {
            Thread.sleep(10);
        }
        assertTrue(Threads.ofMinion().containsAll(Collections.singletonList("insights-log")), Threads.ofMinion().toString());
    }
}
