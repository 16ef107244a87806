// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.minion;

import com.google.common.util.concurrent.AbstractService;

/** A service of the cluster's daemon. MidoNet's class takes this one's place at run time. */
public abstract class Minion extends AbstractService {
    /** @param context may be null, MidoNet does not use it */
    public Minion(package$Context context) {
    }

    /** Whether the daemon is to start this minion. */
    public abstract boolean isEnabled();
}
