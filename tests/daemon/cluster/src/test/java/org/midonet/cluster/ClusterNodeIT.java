// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.cluster;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.concurrent.TimeUnit;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The stand-in is as hard on misfits as MidoNet's daemon, or tests on it would show nothing. */
class ClusterNodeIT {
    private static final String BIN = Paths.get("../bin").toAbsolutePath().toString();
    private static final long LIMIT_SECONDS = 60;
    /** Exit status of a JVM that SIGTERM ended. */
    private static final int TERMINATED = 143;

    @TempDir
    static Path shared;
    private static Process zookeeper;
    private static String address;

    @TempDir
    Path folder;

    @BeforeAll
    static void startZooKeeper() throws IOException {
        zookeeper = new ProcessBuilder(BIN + "/zookeeper", "3.4", "--port", "0", "--data", shared.resolve("zookeeper").toString())
            .redirectError(shared.resolve("errors").toFile())
            .start();
        BufferedReader lines = new BufferedReader(new InputStreamReader(zookeeper.getInputStream(), StandardCharsets.UTF_8));
        String ready = lines.readLine();
        assertTrue(ready != null && ready.startsWith("ready 3.4.8 "), ready);
        address = ready.substring(ready.lastIndexOf(' ') + 1);
    }

    @AfterAll
    static void stopZooKeeper() throws Exception {
        zookeeper.destroy();
        assertTrue(zookeeper.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS));
    }

    @Test
    void startsWithoutPlugins() throws Exception {
        Run run = run("");
        run.awaitStart();
        assertEquals(TERMINATED, run.stop());
        assertTrue(run.log().contains("MidoNet Cluster stopped!"), run.log());
    }

    @Test
    void endsWhenAMinionTakesTooLong() throws Exception {
        Run slow = run(jar("Slow", true));
        Run fatal = run(jar("FatalQuestion", true));
        assertEquals(255, slow.status());
        assertTrue(slow.log().contains("Failure in Cluster startup"), slow.log());
        assertEquals(255, fatal.status());
        assertFalse(fatal.log().contains("Minion failed to start"), fatal.log());
    }

    @Test
    void goesOnWhenAMinionFails() throws Exception {
        Run run = run(jar("Throwing", true));
        run.awaitStart();
        assertTrue(run.log().contains("Minion failed to start"), run.log());
        assertTrue(run.log().contains("Not all Cluster minions were started, continuing with survivors"), run.log());
        assertEquals(TERMINATED, run.stop());
    }

    @Test
    void endsWhenAMinionCantBeInjected() throws Exception {
        Run run = run(jar("NotInjectable", true));
        assertEquals(1, run.status());
        assertTrue(run.output().contains("com.google.inject.CreationException"), run.output());
        assertFalse(run.log().contains("MidoNet Cluster started"), run.log());
    }

    @Test
    void doesNotSeeAJarWithoutFolders() throws Exception {
        Run run = run(jar("Slow", false));
        run.awaitStart();
        assertFalse(run.log().contains("misfit"), run.log());
        assertEquals(TERMINATED, run.stop());
    }

    /** A jar with one misfit and its base. */
    private String jar(String name, boolean folders) throws IOException {
        Path jar = folder.resolve(name + ".jar");
        try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(jar))) {
            if (folders) {
                for (String entry : new String[] {"org/", "org/midonet/", "org/midonet/misfits/"}) {
                    out.putNextEntry(new ZipEntry(entry));
                }
            }
            for (String entry : new String[] {"org/midonet/misfits/Misfit.class", "org/midonet/misfits/" + name + ".class"}) {
                out.putNextEntry(new ZipEntry(entry));
                out.write(Files.readAllBytes(Paths.get("target/test-classes", entry)));
            }
        }
        return jar.toString();
    }

    private Run run(String plugin) throws IOException {
        Path log = Files.createTempDirectory(folder, "run");
        Process process = new ProcessBuilder(BIN + "/cluster", "--zookeeper", address, "--log", log.toString(), "--plugin", plugin)
            .redirectErrorStream(true)
            .redirectOutput(log.resolve("output").toFile())
            .start();
        try (OutputStream in = process.getOutputStream()) {
            in.flush();
        }
        return new Run(process, log);
    }

    private static final class Run {
        private final Process process;
        private final Path folder;

        Run(Process process, Path folder) {
            this.process = process;
            this.folder = folder;
        }

        void awaitStart() throws Exception {
            for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_SECONDS); !output().contains("started\n"); Thread.sleep(50)) {
                assertTrue(process.isAlive() && System.nanoTime() < end, output());
            }
        }

        int stop() throws Exception {
            process.destroy();
            return status();
        }

        int status() throws Exception {
            assertTrue(process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS), output());
            return process.exitValue();
        }

        String output() throws IOException {
            return text("output");
        }

        String log() throws IOException {
            return text("midonet-cluster.log");
        }

        private String text(String name) throws IOException {
            File file = folder.resolve(name).toFile();
            return file.exists() ? new String(Files.readAllBytes(file.toPath()), StandardCharsets.UTF_8) : "";
        }
    }
}
