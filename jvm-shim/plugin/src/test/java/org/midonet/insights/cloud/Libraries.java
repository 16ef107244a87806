// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;

/** The libraries under test, by the system properties of the build. */
final class Libraries {
    private Libraries() {
    }

    /** The product's. */
    static String product() {
        return existing("insights.library", System.getProperty("insights.library", ""));
    }

    /** The superset with the functions of {@link TestHooks}; by default where cargo puts it beside the product's. */
    static String withHooks() {
        String path = System.getProperty("insights.test.library", "");
        if (path.isEmpty()) {
            path = Paths.get(product()).resolveSibling("examples/libmidonet_insights_hooks.so").toString();
        }
        return existing("insights.test.library", path);
    }

    private static String existing(String property, String path) {
        Path file = Paths.get(path).toAbsolutePath();
        if (path.isEmpty() || !Files.isRegularFile(file)) {
            throw new IllegalStateException("no library at '" + path + "': set -D" + property + " to the one that cargo built");
        }
        return file.toString();
    }
}
