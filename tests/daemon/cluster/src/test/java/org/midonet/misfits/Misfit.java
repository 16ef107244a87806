// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.misfits;

import org.midonet.minion.Minion;

/** A minion that works; those below it do not. */
public abstract class Misfit extends Minion {
    Misfit() {
        super(null);
    }

    @Override
    public boolean isEnabled() {
        return true;
    }

    @Override
    protected void doStart() {
        notifyStarted();
    }

    @Override
    protected void doStop() {
        notifyStopped();
    }
}
