// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;

import com.google.inject.Injector;

import org.slf4j.LoggerFactory;

/** A JVM of its own, for what ends one or could. The main function runs there. */
final class Child {
    private static final long LIMIT_SECONDS = 60;

    final int status;
    final String output;

    private Child(int status, String output) {
        this.status = status;
        this.output = output;
    }

    /** Runs a child to its end. */
    static Child run(List<String> jvmOptions, String library, Path folder, String ending) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Paths.get(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(jvmOptions);
        // Those that this process needs of the JVM, the child needs as well.
        ManagementFactory.getRuntimeMXBean().getInputArguments().stream().filter(option -> option.startsWith("--add-opens")).forEach(command::add);
        Collections.addAll(command, "-Dtest.log.level=INFO", "-D" + NativeGateway.LIBRARY_PROPERTY + "=" + library,
            "-cp", System.getProperty("java.class.path"), Child.class.getName(), folder.toString(), ending);
        Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(folder.resolve("output").toFile()).start();
        boolean ended = process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS);
        if (!ended) {
            process.destroyForcibly().waitFor();
        }
        String output = new String(Files.readAllBytes(folder.resolve("output")), StandardCharsets.UTF_8);
        if (!ended) {
            throw new AssertionError("the child did not end: " + output);
        }
        return new Child(process.exitValue(), output);
    }

    /** @param arguments folder, then how to end: {@code return}, {@code exit}, or {@code stop} before a return */
    public static void main(String[] arguments) throws Exception {
        Injector injector = Site.injector(Paths.get(arguments[0]), "");
        InsightsMinion minion = injector.getInstance(InsightsMinion.class);
        minion.startAsync().awaitRunning();
        // Until the library has started its threads and they have something to do.
        Thread.sleep(1_000);
        LoggerFactory.getLogger("child").info("state {}", minion.state());
        if (arguments[1].equals("stop")) {
            minion.stopAsync().awaitTerminated();
            LoggerFactory.getLogger("child").info("state {}", minion.state());
        }
        LoggerFactory.getLogger("child").info("ending at {}", System.currentTimeMillis());
        if (arguments[1].equals("exit")) {
            System.exit(7);
        }
    }
}
