// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midoinsights.tests.zookeeper;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

import org.apache.zookeeper.server.ServerCnxnFactory;
import org.apache.zookeeper.server.ZooKeeperServer;

/**
 * One real ZooKeeper server on the loopback address, of the version that is on the class path; alone, or a {@link Member} of an
 * ensemble.
 *
 * <p>Prints {@code ready VERSION 127.0.0.1:PORT} on its standard output when it serves. A server that runs alone reads commands,
 * one a line, from its standard input (its end is ignored, so that the server also runs in the background):
 *
 * <ul>
 *   <li>{@code sessions}: prints {@code sessions} and the ids of the open ones, as hexadecimal numbers
 *   <li>{@code expire ID}: ends a session as its time-out would, prints {@code expired ID}
 *   <li>{@code quit}: ends the server in order
 * </ul>
 */
public final class Main {
    /** MidoNet's hosts and the tests share one address, so the usual 60 connections an address are too few. */
    private static final int MAX_CONNECTIONS_AN_ADDRESS = 4096;

    private static final String USAGE =
        "arguments: --port PORT (0: a free one) --data FOLDER [--tick MILLISECONDS (default 2000)]\n"
            + "           [--address ADDRESS (default 127.0.0.1)]\n"
            + "           [--ensemble QUORUM:ELECTION,... (two ports of each member) --member NUMBER (from 1)]\n";

    private Main() {
    }

    public static void main(String[] arguments) throws Exception {
        int port = -1;
        int tick = 2000;
        String address = "127.0.0.1";
        File data = null;
        String ensemble = null;
        int member = 0;
        for (int i = 0; i < arguments.length; i += 2) {
            if (i + 1 == arguments.length) {
                throw usage("no value for " + arguments[i]);
            }
            String value = arguments[i + 1];
            switch (arguments[i]) {
                case "--port":
                    port = Integer.parseInt(value);
                    break;
                case "--data":
                    data = new File(value);
                    break;
                case "--tick":
                    tick = Integer.parseInt(value);
                    break;
                case "--address":
                    address = value;
                    break;
                case "--ensemble":
                    ensemble = value;
                    break;
                case "--member":
                    member = Integer.parseInt(value);
                    break;
                default:
                    throw usage("unknown argument " + arguments[i]);
            }
        }
        if (port < 0 || data == null) {
            throw usage("--port and --data are needed");
        }
        System.setProperty("zookeeper.4lw.commands.whitelist", "*");
        if (ensemble == null) {
            runAlone(address, port, data, tick);
        } else {
            Member.run(address, port, data, tick, ensemble.split(","), member);
        }
    }

    static void print(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static void runAlone(String address, int port, File data, int tick) throws Exception {
        ZooKeeperServer server = new ZooKeeperServer(data, data, tick);
        ServerCnxnFactory connections =
            ServerCnxnFactory.createFactory(new InetSocketAddress(address, port), MAX_CONNECTIONS_AN_ADDRESS);
        connections.startup(server);
        Runtime.getRuntime().addShutdownHook(new Thread(connections::shutdown, "stop"));
        Thread commands = new Thread(() -> serveCommands(server), "commands");
        commands.setDaemon(true);
        commands.start();
        print("ready " + org.apache.zookeeper.Version.getVersion() + " " + address + ":" + connections.getLocalPort());
        connections.join();
    }

    private static void serveCommands(ZooKeeperServer server) {
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] words = line.trim().split("\\s+");
                switch (words[0]) {
                    case "sessions":
                        StringBuilder ids = new StringBuilder("sessions");
                        for (Long id : server.getZKDatabase().getSessionWithTimeOuts().keySet()) {
                            ids.append(' ').append(Long.toHexString(id));
                        }
                        print(ids.toString());
                        break;
                    case "expire":
                        String id = words[words.length - 1];
                        server.closeSession(Long.parseUnsignedLong(id.replaceFirst("^0x", ""), 16));
                        print("expired " + id);
                        break;
                    case "quit":
                        System.exit(0);
                        break;
                    default:
                        print("unknown command " + words[0]);
                }
            }
        } catch (IOException e) {
            System.err.println("read commands: " + e);
        }
    }

    private static IllegalArgumentException usage(String problem) {
        return new IllegalArgumentException(problem + "\n" + USAGE);
    }
}
