// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;

import ch.qos.logback.classic.Level;

import com.google.common.util.concurrent.Service.State;
import com.google.inject.Guice;
import com.google.inject.Injector;
import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The minion on the product's library. */
class MinionIT {
    private static final Duration STOP_LIMIT = Duration.ofSeconds(3);

    @TempDir
    Path folder;
    private Log log;

    @BeforeEach
    void setUp() {
        System.setProperty(NativeGateway.LIBRARY_PROPERTY, Libraries.product());
        log = new Log(Level.INFO);
    }

    @AfterEach
    void tearDown() {
        log.close();
        System.clearProperty(NativeGateway.LIBRARY_PROPERTY);
    }

    @Test
    void startsAndStopsAHundredTimesWithoutLeavingThreads() throws Exception {
        NativeGateway gateway = NativeGateway.load();
        byte[] json = Settings.json(Site.injector(folder, ""));
        for (int i = 0; i < 2; i++) {
            gateway.stop(gateway.start(json), 2_000);
        }
        List<String> before = Threads.ofProcess();
        long last = 0;
        for (int i = 0; i < 100; i++) {
            long handle = gateway.start(json);
            assertTrue(handle > last, "handles are never used twice");
            last = handle;
            Config statistics = ConfigFactory.parseString(new String(gateway.statistics(handle), StandardCharsets.UTF_8));
            assertFalse(statistics.isEmpty(), statistics.toString());
            gateway.stop(handle, 2_000);
        }
        List<String> left = Threads.ofProcess();
        // The JVM may have ended some of its own meanwhile.
        before.forEach(left::remove);
        assertEquals(Collections.emptyList(), left);
        assertEquals(Collections.emptyList(), Threads.ofMinion());
    }

    @Test
    void goesThroughTheStatesOfAService() throws Exception {
        for (int i = 0; i < 5; i++) {
            InsightsMinion minion = Site.injector(folder, "").getInstance(InsightsMinion.class);
            assertTrue(minion.isEnabled());
            minion.startAsync().awaitRunning();
            log.await(line -> line.getFormattedMessage().equals("Starting Insights Cluster service..."));
            stop(minion);
            assertEquals(State.TERMINATED, minion.state());
            assertEquals(Collections.emptyList(), log.at(Level.ERROR));
            awaitNoThreads();
        }
    }

    @Test
    void isDisabledByItsKeyAlone() {
        assertFalse(Site.injector(folder, "insights_cloud.enabled : false").getInstance(InsightsMinion.class).isEnabled());
        assertFalse(Site.injector(folder, "insights_cloud.enabled : \"no\"").getInstance(InsightsMinion.class).isEnabled());
        assertTrue(Site.injector(folder, "insights_cloud.enabled : true").getInstance(InsightsMinion.class).isEnabled());
    }

    @Test
    void saysInOneLineWhichValuesAreBad() throws Exception {
        InsightsMinion minion = Site.injector(folder, "insights_cloud.gateway.port : 70000\ninsights_cloud.data.flows : perhaps")
            .getInstance(InsightsMinion.class);
        minion.startAsync();
        String line = log.await(event -> event.getLevel() == Level.ERROR).getFormattedMessage();
        assertTrue(line.contains("insights_cloud.gateway.port is 70000: must be a whole number from 1 to 65535"), line);
        assertTrue(line.contains("insights_cloud.data.flows is \"perhaps\": must be true or false"), line);
        awaitNoThreads();
        assertEquals(1, log.at(Level.ERROR).size(), log.all().toString());
        assertEquals(State.FAILED, minion.state());
    }

    @Test
    void aSwitchThatIsNoSwitchIsToldAtTheStart() throws Exception {
        InsightsMinion minion = Site.injector(folder, "insights_cloud.enabled : perhaps").getInstance(InsightsMinion.class);
        assertTrue(minion.isEnabled());
        minion.startAsync();
        String line = log.await(event -> event.getLevel() == Level.ERROR).getFormattedMessage();
        assertTrue(line.contains("insights_cloud.enabled is \"perhaps\": must be true or false"), line);
    }

    @Test
    void aSectionThatIsNoSectionIsToldInOneLine() throws Exception {
        InsightsMinion minion = Site.injector(folder, "insights_cloud : 3").getInstance(InsightsMinion.class);
        minion.startAsync();
        log.await(event -> event.getLevel() == Level.ERROR && event.getThrowableProxy() == null
            && event.getFormattedMessage().matches("Insights Cluster service not started: configuration: .*insights_cloud.* NUMBER .*OBJECT.*"));
        awaitNoThreads();
        assertEquals(State.FAILED, minion.state());
    }

    /** A MidoNet whose configuration can't be had must not suffer for it. */
    @Test
    void failsAloneWhenMidoNetIsNotAsExpected() throws Exception {
        Injector empty = Guice.createInjector();
        InsightsMinion minion = empty.getInstance(InsightsMinion.class);
        assertTrue(minion.isEnabled());
        minion.startAsync();
        log.await(event -> event.getLevel() == Level.ERROR && event.getFormattedMessage().startsWith("Insights Cluster service not started"));
        awaitNoThreads();
        assertEquals(State.FAILED, minion.state());
    }

    @Test
    void stopsDuringTheStart() throws Exception {
        for (int i = 0; i < 20; i++) {
            InsightsMinion minion = Site.injector(folder, "").getInstance(InsightsMinion.class);
            minion.startAsync();
            stop(minion);
            assertEquals(State.TERMINATED, minion.state());
        }
        awaitNoThreads();
        assertEquals(Collections.emptyList(), log.at(Level.ERROR));
    }

    @Test
    void stopsInTimeWhateverTheLibraryDoes() throws Exception {
        CountDownLatch never = new CountDownLatch(1);
        class Hanging extends NativeGateway {
            @Override
            void stop(long handle, long millis) {
                awaitUninterruptibly(never);
                super.stop(handle, millis);
            }
        }
        class HangingAtStart extends Hanging {
            @Override
            long start(byte[] configuration) {
                awaitUninterruptibly(never);
                return super.start(configuration);
            }
        }
        NativeGateway.load();
        for (NativeGateway library : new NativeGateway[] {new Hanging(), new HangingAtStart()}) {
            InsightsMinion minion = new InsightsMinion(Site.injector(folder, ""), () -> library);
            minion.startAsync().awaitRunning();
            stop(minion);
            assertEquals(State.TERMINATED, minion.state());
            log.await(event -> event.getLevel() == Level.WARN && event.getFormattedMessage().contains("did not stop within"));
        }
        never.countDown();
        awaitNoThreads();
    }

    @Test
    void saysWhereTheLibraryIsMissing() throws Exception {
        System.setProperty(NativeGateway.LIBRARY_PROPERTY, "/nowhere/libmidonet_insights.so");
        InsightsMinion minion = Site.injector(folder, "").getInstance(InsightsMinion.class);
        minion.startAsync();
        String line = log.await(event -> event.getLevel() == Level.ERROR).getFormattedMessage();
        assertTrue(line.contains("cannot load the library /nowhere/libmidonet_insights.so"), line);
        awaitNoThreads();
        assertEquals(State.FAILED, minion.state());
    }

    @Test
    void refusesALibraryOfAnotherVersionAndAnotherLibrary() {
        String path = Libraries.product();
        NativeGateway.Unusable other = assertThrows(NativeGateway.Unusable.class, () -> NativeGateway.load(path, NativeGateway.ABI_VERSION + 1));
        assertTrue(other.getMessage().contains("has interface version 1, this jar needs 2"), other.getMessage());
        assertThrows(NativeGateway.Unusable.class, () -> NativeGateway.load("relative.so", NativeGateway.ABI_VERSION));
    }

    @Test
    void refusesWhatIsNoHandle() throws Exception {
        NativeGateway gateway = NativeGateway.load();
        long handle = gateway.start(Settings.json(Site.injector(folder, "")));
        gateway.stop(handle, 2_000);
        assertThrows(IllegalStateException.class, () -> gateway.stop(handle, 2_000));
        assertThrows(IllegalStateException.class, () -> gateway.statistics(handle));
        assertThrows(IllegalStateException.class, () -> gateway.statistics(-1));
        assertThrows(IllegalArgumentException.class, () -> gateway.start(new byte[] {(byte) 0xff}));
        assertThrows(IllegalStateException.class, () -> gateway.start("{".getBytes(StandardCharsets.UTF_8)));
        assertThrows(IllegalStateException.class, () -> gateway.start(null));
    }

    /** A thread of the library that were attached, or waited for, would keep the process. */
    @Test
    void theProcessEndsWithoutAStop() throws Exception {
        for (String ending : new String[] {"return", "exit"}) {
            Child child = Child.run(Collections.emptyList(), Libraries.product(), folder, ending);
            long end = System.currentTimeMillis();
            assertEquals(ending.equals("exit") ? 7 : 0, child.status, child.output);
            assertTrue(child.output.contains("state RUNNING"), child.output);
            long begin = Long.parseLong(child.output.replaceAll("(?s).*ending at (\\d+).*", "$1"));
            assertTrue(end - begin < 2_000, "ended after " + (end - begin) + " ms");
        }
    }

    @Test
    void theJvmFindsNoFaultWithTheCalls() throws Exception {
        Child child = Child.run(Collections.singletonList("-Xcheck:jni"), Libraries.product(), folder, "stop");
        assertEquals(0, child.status, child.output);
        assertTrue(child.output.contains("state TERMINATED"), child.output);
        assertFalse(child.output.contains("WARNING in native method"), child.output);
        assertFalse(child.output.contains("FATAL ERROR"), child.output);
    }

    private void stop(InsightsMinion minion) {
        assertTimeoutPreemptively(STOP_LIMIT, () -> minion.stopAsync().awaitTerminated());
    }

    /** The threads of the minion end soon after its failure or its stop. */
    private static void awaitNoThreads() throws InterruptedException {
        for (int i = 0; i < 500 && !Threads.ofMinion().isEmpty(); i++) {
            Thread.sleep(10);
        }
        assertEquals(Collections.emptyList(), Threads.ofMinion());
    }

    private static void awaitUninterruptibly(CountDownLatch latch) {
        com.google.common.util.concurrent.Uninterruptibles.awaitUninterruptibly(latch);
    }
}
