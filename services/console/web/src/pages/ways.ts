/** Where one page leads to another: the addresses that several of them need. */

/** Whose log lines are kept, and whose requests are counted, traced and profiled by themselves. */
export const LOGGED: ReadonlySet<string> = new Set(['edge', 'users', 'albums']);
export const PROFILED: ReadonlySet<string> = new Set(['edge', 'users']);

/** Found traces that are asked for: what is rare is among so many. */
const MANY = '200';

/** Minutes since a moment in seconds since 1970: what was before it belongs to something else. The
 * usual ones, in seconds, where there is no such moment. */
export function lookback(began: number | null, usual: number): number {
  const passed = began === null ? usual : Date.now() / 1000 - began;
  return Math.max(2, Math.ceil(passed / 60));
}

/** Traces of a service in the last minutes. */
export function tracesOf(service: string, minutes: number, search: Record<string, string>): string {
  return `/traces?${new URLSearchParams({ service, lookback: String(minutes), limit: MANY, ...search }).toString()}`;
}

/** Traces in which one calls another. */
export const callsTo = (client: string, server: string, minutes: number, search: Record<string, string>): string =>
  tracesOf(client, minutes, { attributes: `service.peer.name=${server}`, ...search });
