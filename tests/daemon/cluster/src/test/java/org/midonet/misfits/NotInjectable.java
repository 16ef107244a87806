// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.misfits;

import org.midonet.minion.MinionService;
import org.midonet.minion.MinionService.TargetNode;

/** Has no constructor that Guice takes. */
@MinionService(name = "misfit", runsOn = TargetNode.CLUSTER)
public class NotInjectable extends Misfit {
    public NotInjectable(String unknown) {
    }
}
