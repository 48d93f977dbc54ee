/** Asking the console's server, and through it the backends. */

/** What went wrong, in words of whoever refused. */
export class AskError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** How often a page asks again, in milliseconds. */
export const REFRESH = 5_000;

export async function ask<T>(path: string, params?: Record<string, string>, init?: RequestInit): Promise<T> {
  const query = params ? `?${new URLSearchParams(params).toString()}` : '';
  let answer: Response;
  try {
    answer = await fetch(path + query, { ...init, headers: { accept: 'application/json' } });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new AskError(0, 'The console itself does not answer: `./lab status` tells whether it runs.');
  }
  const text = await answer.text();
  if (!answer.ok) throw new AskError(answer.status, reason(text) ?? `status ${answer.status}`);
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new AskError(answer.status, `The answer is not JSON: ${text.slice(0, 200)}`);
  }
}

/** Our problem bodies, Prometheus' and Jaeger's errors, Loki's plain text. */
function reason(text: string): string | undefined {
  try {
    const body = JSON.parse(text) as {
      detail?: string;
      error?: string;
      errors?: { msg?: string }[] | null;
    };
    return body.detail ?? body.error ?? body.errors?.[0]?.msg;
  } catch {
    return text.trim().slice(0, 500) || undefined;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
