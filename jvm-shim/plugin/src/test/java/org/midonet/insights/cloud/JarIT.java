// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.DataInputStream;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;

import com.google.inject.Inject;
import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import com.typesafe.config.ConfigUtil;

import org.junit.jupiter.api.Test;
import org.midonet.minion.MinionService;

/** What MidoNet demands of the jar and of the minion's class. */
class JarIT {
    private static final int JAVA_8 = 52;
    private static final String SCHEMA = "org/midonet/conf/schemas/insights_cloud.conf";

    /** MidoNet's scans ask the class loader for folders; a jar without entries for them is not seen, and nothing is said. */
    @Test
    void foldersHaveEntries() throws IOException {
        Set<String> names = names();
        for (String folder : Arrays.asList("org/", "org/midonet/", "org/midonet/conf/", "org/midonet/conf/schemas/", "org/midonet/insights/")) {
            assertTrue(names.contains(folder), folder);
        }
    }

    @Test
    void nothingButOurClassesAndTheSchemaIsInside() throws IOException {
        for (String name : names()) {
            boolean expected = name.endsWith("/") || name.equals("META-INF/MANIFEST.MF") || name.equals(SCHEMA)
                || name.matches("org/midonet/insights/cloud/[A-Za-z$]+\\.class");
            assertTrue(expected, name);
        }
    }

    /** The cluster's JVM is a Java 8. */
    @Test
    void classesAreOfJava8() throws IOException {
        try (JarFile jar = jar()) {
            int classes = 0;
            for (JarEntry entry : Collections.list(jar.entries())) {
                if (entry.getName().endsWith(".class")) {
                    DataInputStream in = new DataInputStream(jar.getInputStream(entry));
                    assertEquals(0xCAFEBABE, in.readInt());
                    assertEquals(JAVA_8, in.readInt(), entry.getName());
                    classes++;
                }
            }
            assertTrue(classes > 0);
        }
    }

    /** A signature that names a class that is not there ends the daemon. */
    @Test
    void signaturesOfTheMinionNameOnlyWhatTheDaemonItselfNeeds() {
        List<Class<?>> named = new ArrayList<>();
        for (Method method : InsightsMinion.class.getDeclaredMethods()) {
            named.add(method.getReturnType());
            named.addAll(Arrays.asList(method.getParameterTypes()));
            named.addAll(Arrays.asList(method.getExceptionTypes()));
        }
        for (Constructor<?> constructor : InsightsMinion.class.getDeclaredConstructors()) {
            named.addAll(Arrays.asList(constructor.getParameterTypes()));
        }
        for (Field field : InsightsMinion.class.getDeclaredFields()) {
            named.add(field.getType());
        }
        for (Class<?> type : named) {
            String name = type.getName();
            boolean safe = type.isPrimitive() || type.isArray() || name.startsWith("java.") || name.equals("com.google.inject.Injector")
                || name.equals("org.slf4j.Logger") || name.startsWith("org.midonet.insights.cloud.");
            assertTrue(safe, name);
        }
    }

    @Test
    void guiceAndTheScanAcceptTheMinion() {
        List<Constructor<?>> injected = new ArrayList<>();
        for (Constructor<?> constructor : InsightsMinion.class.getDeclaredConstructors()) {
            if (constructor.isAnnotationPresent(Inject.class)) {
                injected.add(constructor);
            }
        }
        assertEquals(1, injected.size());
        assertTrue(Modifier.isFinal(InsightsMinion.class.getModifiers()), "a subclass would end the daemon's start");
        MinionService annotation = InsightsMinion.class.getAnnotation(MinionService.class);
        assertEquals("insights", annotation.name());
        assertEquals(MinionService.TargetNode.CLUSTER, annotation.runsOn());
    }

    /** MidoNet refuses to start with a schema without a version, and checks each default against its type. */
    @Test
    void everyKeyOfTheSchemaHasATypeADefaultAndADescription() {
        Config schema = ConfigFactory.parseResources(SCHEMA);
        assertEquals(Collections.singleton("insights_cloud"), schema.root().keySet());
        assertTrue(schema.getInt("insights_cloud.schemaVersion") > 0);
        Set<String> keys = new TreeSet<>();
        schema.entrySet().forEach(entry -> keys.add(entry.getKey()));
        assertFalse(keys.isEmpty());
        for (String key : keys) {
            if (key.endsWith("_type") || key.endsWith("_description")) {
                String described = key.substring(0, key.lastIndexOf('_'));
                assertTrue(schema.hasPath(described), key + " belongs to no key");
            } else if (!key.equals("insights_cloud.schemaVersion")) {
                assertFalse(schema.getString(key + "_description").trim().isEmpty(), key);
                checkType(schema, key, schema.getString(key + "_type"));
                // mn-conf splits keys at dots, so none may hide in quotes.
                assertEquals(key, String.join(".", ConfigUtil.splitPath(key)));
            }
        }
    }

    private static void checkType(Config schema, String key, String type) {
        switch (type) {
            case "bool":
                schema.getBoolean(key);
                break;
            case "int":
                schema.getInt(key);
                break;
            case "string":
                schema.getString(key);
                break;
            case "duration":
                assertTrue(schema.getDuration(key, TimeUnit.MILLISECONDS) > 0);
                break;
            case "size":
                assertTrue(schema.getBytes(key) > 0);
                break;
            default:
                // MidoNet reads an enumeration by this expression.
                assertTrue(type.matches("enum\\[([\\w, ]+)\\]"), key + ": " + type);
                List<String> options = Arrays.asList(type.substring(5, type.length() - 1).split(", *"));
                assertTrue(options.contains(schema.getString(key)), key);
        }
    }

    private static Set<String> names() throws IOException {
        try (JarFile jar = jar()) {
            Set<String> names = new TreeSet<>();
            Collections.list(jar.entries()).forEach(entry -> names.add(entry.getName()));
            return names;
        }
    }

    private static JarFile jar() throws IOException {
        return new JarFile(System.getProperty("insights.jar"));
    }
}
