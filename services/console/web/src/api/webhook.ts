import { ask, AskError } from './ask';

/** What Alertmanager sent. */
export interface Notification {
  /** Seconds since 1970. */
  received: number;
  body: {
    status: string;
    receiver?: string;
    alerts?: {
      status: string;
      labels: Record<string, string>;
      annotations: Record<string, string>;
      startsAt: string;
      endsAt: string;
    }[];
  };
}

/** A request as the webhook tester has it, and the lab's own receiver too. */
interface Captured {
  captured_at_unix_milli: number;
  request_payload_base64: string;
}

/** The newest first. */
export async function getNotifications(): Promise<Notification[]> {
  const captured = await getCaptured();
  return captured.flatMap((request) => {
    const body = parse(request.request_payload_base64);
    return body === undefined ? [] : [{ received: request.captured_at_unix_milli / 1000, body }];
  });
}

/** The webhook tester makes the session when the first one arrives. */
async function getCaptured(): Promise<Captured[]> {
  try {
    return await ask<Captured[]>('/proxy/webhook/api/session/00000000-0000-0000-0000-000000000000/requests');
  } catch (error) {
    if (error instanceof AskError && error.status === 404) return [];
    throw error;
  }
}

/** Whoever finds the receiver can post to it: what is no notification is not shown. */
function parse(payload: string): Notification['body'] | undefined {
  try {
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const body: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return isBody(body) ? body : undefined;
  } catch {
    return undefined;
  }
}

function isBody(body: unknown): body is Notification['body'] {
  return typeof body === 'object' && body !== null && 'alerts' in body && Array.isArray(body.alerts);
}
