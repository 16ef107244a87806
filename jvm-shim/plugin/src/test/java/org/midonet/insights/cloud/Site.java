// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import java.nio.file.Path;

import com.google.inject.AbstractModule;
import com.google.inject.Guice;
import com.google.inject.Injector;
import com.typesafe.config.ConfigFactory;

import org.midonet.cluster.ClusterConfig;

/** What the minion finds in the cluster's JVM, with a ZooKeeper and a service that do not answer. */
final class Site {
    private Site() {
    }

    /** @param overrides HOCON that comes before what the tests need */
    static Injector injector(Path folder, String overrides) {
        String config = "insights_cloud.gateway.host : 127.0.0.1\n"
            + "insights_cloud.gateway.port : 9\n"
            + "insights_cloud.recorder.host : 127.0.0.1\n"
            + "insights_cloud.recorder.bind : 127.0.0.1\n"
            + "insights_cloud.recorder.port : 0\n"
            + "insights_cloud.spool.path : \"" + folder.resolve("spool") + "\"\n"
            + "insights_cloud.identity.path : \"" + folder.resolve("identity") + "\"\n"
            + "insights_cloud.status.socket : \"" + folder.resolve("status.sock") + "\"\n"
            + "zookeeper.zookeeper_hosts : \"127.0.0.1:9\"\n"
            + "zookeeper.root_key : /midonet\n";
        ClusterConfig cluster = new ClusterConfig(ConfigFactory.parseString(overrides)
            .withFallback(ConfigFactory.parseString(config))
            .withFallback(ConfigFactory.parseResources("org/midonet/conf/schemas/insights_cloud.conf"))
            .resolve());
        return Guice.createInjector(new AbstractModule() {
            @Override
            protected void configure() {
                bind(ClusterConfig.class).toInstance(cluster);
            }
        });
    }
}
