// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.minion;

/** What MidoNet tells a minion about its node. Declared for the constructor of {@link Minion}. */
public class package$Context {
}
