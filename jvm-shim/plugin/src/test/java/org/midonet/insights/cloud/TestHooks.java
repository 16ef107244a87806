// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.insights.cloud;

/** Functions of the test library that do what the product must survive. */
final class TestHooks {
    static final int LITERAL = 0;
    static final int FORMATTED = 1;
    static final int WITHOUT_TEXT = 2;
    static final int PANICS_AGAIN = 3;

    native void panicInCall(int kind);

    native void panicOnWorker(int number);

    native void flood(int level, int lines);
}
