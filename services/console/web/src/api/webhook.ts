import { ask } from './ask';

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

/** The newest first. */
export async function getNotifications(): Promise<Notification[]> {
  const all = await ask<Notification[]>('/proxy/webhook/00000000-0000-0000-0000-000000000000');
  return all.toReversed();
}
