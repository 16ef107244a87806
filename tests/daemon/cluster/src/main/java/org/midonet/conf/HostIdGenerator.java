// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.conf;

import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Properties;
import java.util.UUID;

/** The id of this machine, from the file that the system property {@code midonet.host_id_filepath} names; made when absent. */
public final class HostIdGenerator {
    private static final String FILE = "/etc/midonet_host_id.properties";
    private static final String KEY = "host_uuid";

    private HostIdGenerator() {
    }

    public static UUID getHostId() throws PropertiesFileNotWritableException {
        String file = System.getProperty("midonet.host_id_filepath", FILE);
        Properties properties = new Properties();
        try (InputStream in = new FileInputStream(file)) {
            properties.load(in);
        } catch (IOException e) {
            // Made below.
        }
        String found = properties.getProperty(KEY, "");
        if (!found.isEmpty()) {
            return UUID.fromString(found);
        }
        UUID made = UUID.randomUUID();
        properties.setProperty(KEY, made.toString());
        try (OutputStream out = new FileOutputStream(file)) {
            properties.store(out, null);
        } catch (IOException e) {
            throw new PropertiesFileNotWritableException(file);
        }
        return made;
    }

    public static class PropertiesFileNotWritableException extends Exception {
        private static final long serialVersionUID = 1L;

        PropertiesFileNotWritableException(String message) {
            super(message);
        }
    }
}
