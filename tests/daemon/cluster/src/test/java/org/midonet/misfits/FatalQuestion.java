// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.misfits;

import org.midonet.minion.MinionService;
import org.midonet.minion.MinionService.TargetNode;

/** Fails in a way that never completes a future of Scala. */
@MinionService(name = "misfit", runsOn = TargetNode.CLUSTER)
public class FatalQuestion extends Misfit {
    @Override
    public boolean isEnabled() {
        throw new UnsatisfiedLinkError("no library");
    }
}
