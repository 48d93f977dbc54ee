// Which panel shows which fault: what `lab verify --panels --react` makes happen and looks for.

import type { Dashboard } from './model.js';

export function reactions(dashboards: Dashboard[]): unknown {
  return dashboards.map(({ uid, rows }) => {
    const panels = rows.flatMap((row) => row.panels).filter((panel) => panel.reaction !== undefined);
    const [panel] = panels;
    if (panel?.reaction === undefined || panels.length > 1) {
      throw new Error(`${uid}: one panel is to react to a fault, not ${panels.length}`);
    }
    const { fault, variables, query, above, slow } = panel.reaction;
    return {
      dashboard: uid, panel: panel.title, fault, variables: variables ?? {}, ...(query !== undefined && { query }), above,
      slow: slow ?? false,
    };
  });
}
