// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.conf;

import java.io.InputStreamReader;
import java.io.StringReader;
import java.net.JarURLConnection;
import java.net.URL;
import java.net.URLConnection;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Collections;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarEntry;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigException;
import com.typesafe.config.ConfigFactory;
import com.typesafe.config.ConfigRenderOptions;
import com.typesafe.config.ConfigValue;
import com.typesafe.config.ConfigValueFactory;

import org.apache.curator.framework.CuratorFramework;
import org.apache.zookeeper.KeeperException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The configuration that MidoNet keeps in ZooKeeper, and the schemas that jars bring along. */
public final class NodeConfiguration {
    private static final Logger LOG = LoggerFactory.getLogger("org.midonet.conf");
    private static final String SCHEMAS = "org/midonet/conf/schemas";
    private static final Pattern ENUM = Pattern.compile("enum\\[([\\w, ]+)\\]");
    private static final ConfigRenderOptions STORED = ConfigRenderOptions.defaults().setOriginComments(false).setComments(false);

    private final CuratorFramework zk;
    private final Config local;

    /**
     * @param zk client with the root key as its namespace
     * @param local what comes before all that is in ZooKeeper
     */
    public NodeConfiguration(CuratorFramework zk, Config local) {
        this.zk = zk;
        this.local = local;
    }

    /** Stores the schemas of all jars, where one is newer than what is stored. An invalid one ends the daemon's start. */
    public void deploySchemas() throws Exception {
        for (String folder : new String[] {"", "/nodes", "/templates", "/schemas"}) {
            try {
                zk.create().creatingParentsIfNeeded().forPath("/config" + folder);
            } catch (KeeperException.NodeExistsException e) {
                // As it should be.
            }
        }
        for (Map.Entry<String, Config> schema : bundledSchemas().entrySet()) {
            String name = schema.getKey();
            String versionKey = name + ".schemaVersion";
            int version = schema.getValue().getInt(versionKey);
            checkTypes(schema.getValue().resolve());
            Config old = read("/config/schemas/" + name);
            int oldVersion = old.hasPath(versionKey) ? old.getInt(versionKey) : -1;
            if (version > oldVersion) {
                write("/config/schemas/" + name, tidyDescriptions(schema.getValue()));
                LOG.info("Deployed schema {} with version {}", name, version);
            } else {
                LOG.info("{} schema is up to date at version {}", name, oldVersion);
            }
        }
    }

    /** What holds for a node: local values, those of the node, of the template for all nodes, and the schemas' defaults. */
    public Config of(UUID node) throws Exception {
        Config config = local.withFallback(read("/config/nodes/" + node)).withFallback(read("/config/templates/default"));
        for (String schema : zk.getChildren().forPath("/config/schemas")) {
            config = config.withFallback(read("/config/schemas/" + schema));
        }
        for (Config schema : bundledSchemas().values()) {
            config = config.withFallback(schema);
        }
        return config.resolve();
    }

    private Config read(String path) throws Exception {
        try {
            byte[] data = zk.getData().forPath(path);
            if (data == null || data.length == 0) {
                return ConfigFactory.empty();
            }
            return ConfigFactory.parseReader(new StringReader(new String(data, StandardCharsets.UTF_8)));
        } catch (KeeperException.NoNodeException e) {
            return ConfigFactory.empty();
        }
    }

    private void write(String path, Config config) throws Exception {
        byte[] data = config.root().render(STORED).getBytes(StandardCharsets.UTF_8);
        try {
            zk.create().creatingParentsIfNeeded().forPath(path, data);
        } catch (KeeperException.NodeExistsException e) {
            zk.setData().forPath(path, data);
        }
    }

    /** The schemas by name. A jar is found by its entry for the folder: without directory entries it is not seen. */
    private static Map<String, Config> bundledSchemas() throws Exception {
        Map<String, Config> schemas = new TreeMap<>();
        ClassLoader loader = NodeConfiguration.class.getClassLoader();
        for (URL url : Collections.list(loader.getResources(SCHEMAS))) {
            URLConnection connection = url.openConnection();
            if (connection instanceof JarURLConnection) {
                for (JarEntry entry : Collections.list(((JarURLConnection) connection).getJarFile().entries())) {
                    if (entry.getName().startsWith(SCHEMAS) && !entry.isDirectory()) {
                        schemas.put(baseName(entry.getName()), parse(loader, entry.getName()));
                    }
                }
            } else {
                try (java.util.stream.Stream<Path> files = Files.list(Paths.get(url.toURI()))) {
                    for (Object file : files.toArray()) {
                        String name = SCHEMAS + "/" + ((Path) file).getFileName();
                        schemas.put(baseName(name), parse(loader, name));
                    }
                }
            }
        }
        return schemas;
    }

    private static String baseName(String path) {
        return path.substring(path.lastIndexOf('/') + 1, path.lastIndexOf('.'));
    }

    private static Config parse(ClassLoader loader, String resource) {
        return ConfigFactory.parseReader(new InputStreamReader(loader.getResourceAsStream(resource), StandardCharsets.UTF_8));
    }

    private static Config tidyDescriptions(Config schema) {
        Config tidy = schema;
        for (Map.Entry<String, ConfigValue> entry : schema.entrySet()) {
            if (entry.getKey().endsWith("_description")) {
                String text = schema.getString(entry.getKey()).trim().replaceAll("\\s+", " ");
                tidy = tidy.withValue(entry.getKey(), ConfigValueFactory.fromAnyRef(text));
            }
        }
        return tidy;
    }

    /** Reads each default as its {@code _type} key says. */
    private static void checkTypes(Config schema) {
        for (Map.Entry<String, ConfigValue> entry : schema.entrySet()) {
            String key = entry.getKey();
            if (!schema.hasPath(key + "_type")) {
                continue;
            }
            String type = schema.getString(key + "_type");
            Matcher options = ENUM.matcher(type);
            switch (type) {
                case "duration":
                    schema.getDuration(key, TimeUnit.MILLISECONDS);
                    break;
                case "bool":
                    schema.getBoolean(key);
                    break;
                case "string":
                    schema.getString(key);
                    break;
                case "string[]":
                    schema.getStringList(key);
                    break;
                case "int":
                    schema.getInt(key);
                    break;
                case "size":
                    schema.getBytes(key);
                    break;
                case "double":
                    schema.getDouble(key);
                    break;
                default:
                    if (!options.matches()) {
                        throw new ConfigException.BugOrBroken("Invalid validation type (" + type + ") in schema");
                    }
                    String value = schema.getString(key);
                    boolean known = false;
                    for (String option : options.group(1).split(",")) {
                        known |= option.trim().equalsIgnoreCase(value);
                    }
                    if (!known) {
                        throw new ConfigException.WrongType(entry.getValue().origin(), "Value for " + key + " (" + value + ") is not one of " + type);
                    }
            }
        }
    }
}
