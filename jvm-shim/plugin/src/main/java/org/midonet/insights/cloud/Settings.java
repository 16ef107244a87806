// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import java.nio.charset.StandardCharsets;

import com.google.inject.Injector;
import com.typesafe.config.Config;
import com.typesafe.config.ConfigException;
import com.typesafe.config.ConfigFactory;
import com.typesafe.config.ConfigRenderOptions;
import com.typesafe.config.ConfigValueFactory;

import org.midonet.cluster.ClusterConfig;
import org.midonet.conf.HostIdGenerator;

/**
 * What the gateway has to know of MidoNet. Apart from the minion because its methods name classes of MidoNet: should one of them
 * be missing or changed, using this class fails, and not the daemon.
 */
final class Settings {
    private static final String SECTION = "insights_cloud";
    private static final String ENABLED = SECTION + ".enabled";
    private static final String HOSTS = "zookeeper.zookeeper_hosts";
    private static final String ROOT_KEY = "zookeeper.root_key";

    /** What MidoNet takes when the key is missing. */
    private static final String DEFAULT_ROOT_KEY = "/midonet";

    private Settings() {
    }

    static boolean enabled(Injector injector) {
        Config conf = conf(injector);
        return !conf.hasPath(ENABLED) || conf.getBoolean(ENABLED);
    }

    /**
     * The configuration of the gateway:
     * {@code {"insights_cloud": {…}, "zookeeper": {"hosts": "…", "root_key": "…"}, "host_id": "…"}}, in UTF-8.
     *
     * @throws IllegalArgumentException when a key is missing, or a section is none
     */
    static byte[] json(Injector injector) {
        try {
            return json(conf(injector));
        } catch (ConfigException e) {
            throw new IllegalArgumentException("configuration: " + e.getMessage(), e);
        }
    }

    private static byte[] json(Config conf) {
        String rootKey = conf.hasPath(ROOT_KEY) ? conf.getString(ROOT_KEY) : DEFAULT_ROOT_KEY;
        Config json = ConfigFactory.empty()
            .withValue("host_id", ConfigValueFactory.fromAnyRef(HostIdGenerator.getHostId().toString()))
            .withValue("zookeeper.hosts", ConfigValueFactory.fromAnyRef(conf.getString(HOSTS)))
            .withValue("zookeeper.root_key", ConfigValueFactory.fromAnyRef(rootKey));
        if (conf.hasPath(SECTION)) {
            json = json.withValue(SECTION, conf.getConfig(SECTION).root());
        }
        return json.root().render(ConfigRenderOptions.concise()).getBytes(StandardCharsets.UTF_8);
    }

    private static Config conf(Injector injector) {
        return injector.getInstance(ClusterConfig.class).conf();
    }
}
