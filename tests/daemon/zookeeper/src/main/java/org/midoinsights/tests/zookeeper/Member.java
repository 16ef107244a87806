// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midoinsights.tests.zookeeper;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

import org.apache.zookeeper.server.quorum.QuorumPeerConfig;
import org.apache.zookeeper.server.quorum.QuorumPeerMain;

/** A member of an ensemble. Ready when it leads or follows. */
final class Member {
    private static final int POLL_MILLIS = 100;

    private Member() {
    }

    /** @param members {@code QUORUM:ELECTION} ports of each member, all on this machine */
    static void run(String address, int port, File data, int tick, String[] members, int member) throws Exception {
        List<String> lines = new ArrayList<>();
        lines.add("dataDir=" + data.getAbsolutePath());
        lines.add("clientPort=" + port);
        lines.add("clientPortAddress=" + address);
        lines.add("tickTime=" + tick);
        lines.add("initLimit=10");
        lines.add("syncLimit=5");
        lines.add("maxClientCnxns=4096");
        for (int i = 0; i < members.length; i++) {
            lines.add("server." + (i + 1) + "=127.0.0.1:" + members[i]);
        }
        Path folder = Files.createDirectories(data.toPath());
        Path file = folder.resolve("zoo.cfg");
        Files.write(file, lines);
        Files.write(folder.resolve("myid"), String.valueOf(member).getBytes(StandardCharsets.US_ASCII));
        // Both would need libraries that nothing else here needs.
        System.setProperty("zookeeper.jmx.log4j.disable", "true");
        System.setProperty("zookeeper.admin.enableServer", "false");

        QuorumPeerConfig config = new QuorumPeerConfig();
        config.parse(file.toString());
        Thread ready = new Thread(() -> sayReady(address, port), "ready");
        ready.setDaemon(true);
        ready.start();
        new QuorumPeerMain().runFromConfig(config);
    }

    private static void sayReady(String address, int port) {
        try {
            while (!mode(address, port).contains("Mode: ")) {
                Thread.sleep(POLL_MILLIS);
            }
            Main.print("ready " + org.apache.zookeeper.Version.getVersion() + " " + address + ":" + port);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** What the server says of itself; empty while it does not. */
    private static String mode(String address, int port) {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(address, port), POLL_MILLIS);
            socket.setSoTimeout(10 * POLL_MILLIS);
            socket.getOutputStream().write("srvr".getBytes(StandardCharsets.US_ASCII));
            StringBuilder answer = new StringBuilder();
            InputStream in = socket.getInputStream();
            for (int c = in.read(); c >= 0; c = in.read()) {
                answer.append((char) c);
            }
            return answer.toString();
        } catch (IOException e) {
            return "";
        }
    }
}
