// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

/**
 * The library's functions. Errors are {@link IllegalStateException}, bad configuration may be {@link IllegalArgumentException},
 * and a panic of the library is a {@link RuntimeException}; their messages are complete.
 */
class NativeGateway {
    /** Version of these functions. To be raised with every change, here and in the library. */
    static final int ABI_VERSION = 1;
    /** System property with the absolute path of another library than the packaged one. */
    static final String LIBRARY_PROPERTY = "midonet.insights.library";
    /** Where the package puts the library. */
    static final String LIBRARY = "/usr/lib/midonet-insights-plugin/libmidonet_insights.so";

    NativeGateway() {
    }

    /** Loads the library that the package or the system property names. */
    static NativeGateway load() throws Unusable {
        return load(System.getProperty(LIBRARY_PROPERTY, LIBRARY), ABI_VERSION);
    }

    /** Loads a library, which must have the given version of the functions. Does nothing when it is loaded already. */
    static NativeGateway load(String path, int abiVersion) throws Unusable {
        NativeGateway gateway = new NativeGateway();
        int found;
        try {
            System.load(path);
        } catch (LinkageError | SecurityException e) {
            throw new Unusable("cannot load the library " + path + " (" + e.getMessage() + "): install the package"
                + " midonet-insights-plugin again, or set the system property " + LIBRARY_PROPERTY, e);
        }
        try {
            found = gateway.abiVersion();
        } catch (LinkageError e) {
            throw new Unusable(path + " is not a library of this plugin (" + e.getMessage() + ")", e);
        }
        if (found != abiVersion) {
            throw new Unusable("the library " + path + " has interface version " + found + ", this jar needs " + abiVersion
                + ": jar and library must come from the same package, install midonet-insights-plugin again", null);
        }
        return gateway;
    }

    native int abiVersion();

    /** Starts a gateway and returns its handle. Returns soon; the connections are made later. */
    native long start(byte[] configuration);

    /** The next log line, as {@link LogPump} reads it; null when none comes in time. Asks for lines up to the given level. */
    native byte[] nextLog(int level, long millis);

    /** What the gateway counts, as JSON. */
    native byte[] statistics(long handle);

    /** Stops a gateway, which has so long to do it in order. The handle is of no use from then on. */
    native void stop(long handle, long millis);

    /** The library can't be used. */
    static final class Unusable extends Exception {
        private static final long serialVersionUID = 1L;

        Unusable(String message, Throwable cause) {
            super(message, cause);
        }
    }
}
