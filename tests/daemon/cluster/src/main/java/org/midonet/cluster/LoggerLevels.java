// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.cluster;

import java.util.Map;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigValue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.midonet.conf.NodeConfiguration;
import org.slf4j.LoggerFactory;

/** Sets the levels of {@code cluster.loggers}, at start and when the template for all nodes or that of this node changes. */
final class LoggerLevels {
    private static final org.slf4j.Logger LOG = LoggerFactory.getLogger("org.midonet.conf");

    private LoggerLevels() {
    }

    static void follow(CuratorFramework zk, NodeConfiguration configuration, java.util.UUID node) throws Exception {
        for (String path : new String[] {"/config/templates/default", "/config/nodes/" + node}) {
            NodeCache cache = new NodeCache(zk, path);
            cache.getListenable().addListener(() -> set(configuration.of(node)));
            cache.start();
        }
        set(configuration.of(node));
    }

    private static void set(Config config) {
        Config loggers = config.getConfig("cluster.loggers");
        for (Map.Entry<String, ConfigValue> entry : loggers.entrySet()) {
            String name = entry.getKey().endsWith(".root") ? entry.getKey().substring(0, entry.getKey().length() - 5) : entry.getKey();
            if (name.endsWith("_description") || name.endsWith("_type")) {
                continue;
            }
            name = name.equals("root") ? org.slf4j.Logger.ROOT_LOGGER_NAME : name;
            Logger logger = (Logger) LoggerFactory.getLogger(name);
            Level level = Level.toLevel(loggers.getString(entry.getKey()), Level.INFO);
            if (!level.equals(logger.getLevel())) {
                logger.setLevel(level);
                LOG.info("Set logging level of {} to {}", name, level);
            }
        }
    }
}
