// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.cluster;

import java.lang.management.ManagementFactory;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

import com.google.inject.AbstractModule;
import com.google.inject.Guice;
import com.google.inject.Injector;
import com.google.inject.Singleton;
import com.google.inject.name.Names;
import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import com.typesafe.config.ConfigRenderOptions;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryOneTime;
import org.midonet.cluster.services.MidonetBackend;
import org.midonet.cluster.storage.MidonetBackendConfig;
import org.midonet.conf.HostIdGenerator;
import org.midonet.conf.NodeConfiguration;
import org.midonet.minion.Daemon;
import org.midonet.minion.Minion;
import org.midonet.minion.MinionService;
import org.midonet.minion.MinionService.TargetNode;
import org.midonet.minion.package$Context;
import org.reflections.Reflections;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A stand-in of the MidoNet Cluster daemon for tests: finds, starts and stops minions as the real one does, and writes the same log
 * lines.
 *
 * <p>The argument is the configuration that takes precedence over what is in ZooKeeper, in HOCON; it must have the keys
 * {@code zookeeper.zookeeper_hosts} and {@code zookeeper.root_key}.
 */
public final class ClusterNode {
    private static final Logger LOG = LoggerFactory.getLogger("org.midonet.cluster");
    private static final int POOL_LIMIT = 8;
    private static final int POOL_STOP_SECONDS = 10;

    private ClusterNode() {
    }

    public static void main(String[] arguments) throws Exception {
        LOG.info("MidoNet Cluster 5.4.1 starting...");
        LOG.info("-------------------------------------");
        LOG.info("Version: 5.4.1");
        LOG.info("JVM options: ");
        for (String option : ManagementFactory.getRuntimeMXBean().getInputArguments()) {
            LOG.info("  {}", option);
        }
        UUID nodeId = HostIdGenerator.getHostId();
        Config local = ConfigFactory.parseString(arguments[0]);

        MidonetBackendConfig bootstrap = new MidonetBackendConfig(local);
        CuratorFramework configZk = CuratorFrameworkFactory.builder()
            .connectString(bootstrap.hosts())
            .connectionTimeoutMs(30_000)
            .retryPolicy(new RetryOneTime(100))
            .namespace(bootstrap.rootKey().replaceFirst("^/", ""))
            .build();
        configZk.start();
        NodeConfiguration configuration = new NodeConfiguration(configZk, local);
        configuration.deploySchemas();
        LoggerLevels.follow(configZk, configuration, nodeId);
        ClusterConfig config = new ClusterConfig(configuration.of(nodeId));
        LOG.info("Loaded configuration: {}", config.conf().root().render(ConfigRenderOptions.defaults().setComments(false).setOriginComments(false)));

        ScheduledExecutorService pool = pool();
        LOG.info("Scanning classpath for Cluster Minions...");
        Reflections reflections = new Reflections("org.midonet");
        Map<String, Class<? extends Minion>> minions = minions(reflections);

        MidonetBackend backend = new MidonetBackend(config.backend());
        Injector injector = Guice.createInjector(new AbstractModule() {
            @Override
            protected void configure() {
                bind(MidonetBackend.class).toInstance(backend);
                bind(MidonetBackendConfig.class).toInstance(config.backend());
                bind(CuratorFramework.class).toInstance(backend.curator());
                bind(package$Context.class).toInstance(new package$Context(nodeId));
                bind(Reflections.class).toInstance(reflections);
                bind(ScheduledExecutorService.class).annotatedWith(Names.named("cluster-pool")).toInstance(pool);
                bind(ClusterConfig.class).toInstance(config);
                for (Class<? extends Minion> minion : minions.values()) {
                    bind(minion).in(Singleton.class);
                }
            }
        });
        Daemon daemon = new Daemon(nodeId, pool, minions, injector);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(daemon, backend, pool), "shutdown"));

        LOG.info("MidoNet Cluster daemon starts...");
        try {
            backend.startAsync().awaitRunning();
            daemon.startAsync().awaitRunning();
            LOG.info("MidoNet Cluster started");
        } catch (Throwable t) {
            LOG.error("Failure in Cluster startup", t);
            System.exit(255);
        }
        System.out.println("started");
        System.out.flush();
        daemon.awaitTerminated();
    }

    private static Map<String, Class<? extends Minion>> minions(Reflections reflections) {
        Map<String, Class<? extends Minion>> minions = new LinkedHashMap<>();
        for (Class<?> type : reflections.getTypesAnnotatedWith(MinionService.class)) {
            // Null for a subclass of an annotated class: the start ends here, as it does in MidoNet.
            MinionService annotation = type.getAnnotation(MinionService.class);
            if (Minion.class.isAssignableFrom(type) && annotation.runsOn() == TargetNode.CLUSTER) {
                LOG.info("Minion: {} provided by {}.", annotation.name(), type.getName());
                minions.put(annotation.name(), type.asSubclass(Minion.class));
            } else {
                LOG.warn("Ignored service {} because provider class {} is not a Cluster Minion", annotation.name(), type.getName());
            }
        }
        return minions;
    }

    private static ScheduledExecutorService pool() {
        int size = Math.min(Runtime.getRuntime().availableProcessors(), POOL_LIMIT);
        LOG.info("Cluster thread pool started with {} threads", size);
        AtomicInteger number = new AtomicInteger();
        return Executors.newScheduledThreadPool(size, task -> {
            Thread thread = new Thread(task, "cluster-pool-" + number.incrementAndGet());
            thread.setDaemon(true);
            return thread;
        });
    }

    private static void stop(Daemon daemon, MidonetBackend backend, ScheduledExecutorService pool) {
        LOG.info("MidoNet Cluster shutting down...");
        try {
            if (daemon.isRunning()) {
                daemon.stopAsync().awaitTerminated();
            }
            if (backend.isRunning()) {
                backend.stopAsync().awaitTerminated();
            }
            pool.shutdown();
            if (!pool.awaitTermination(POOL_STOP_SECONDS, TimeUnit.SECONDS)) {
                LOG.warn("Shutting down the cluster executor timed out");
                pool.shutdownNow();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        LOG.info("MidoNet Cluster stopped!");
    }
}
