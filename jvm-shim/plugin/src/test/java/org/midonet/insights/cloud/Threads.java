// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The threads of this process. */
final class Threads {
    private Threads() {
    }

    /** Threads of the minion, as Java sees them: those of the library must not be there. */
    static List<String> ofMinion() {
        Thread[] threads = new Thread[Thread.activeCount() + 64];
        int count = Thread.enumerate(threads);
        return Arrays.stream(threads, 0, count).map(Thread::getName).filter(name -> name.startsWith("insights")).collect(Collectors.toList());
    }

    /** All threads of the process, as the kernel sees them, without those that the JVM makes and ends as it likes. */
    static List<String> ofProcess() throws IOException {
        try (Stream<Path> tasks = Files.list(Paths.get("/proc/self/task"))) {
            return tasks.map(Threads::name)
                .filter(name -> !name.isEmpty())
                .filter(name -> !name.matches("(C[12] Compiler|GC Thread|G1 |VM |Sweeper|Attach|Common-Cleaner).*"))
                .sorted()
                .collect(Collectors.toList());
        }
    }

    private static String name(Path task) {
        try {
            return new String(Files.readAllBytes(task.resolve("comm"))).trim();
        } catch (IOException e) {
            // It has ended meanwhile.
            return "";
        }
    }
}
