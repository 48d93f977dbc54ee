import type { LabComponent } from '../../api/lab';

export type Health = 'good' | 'bad' | 'pending' | 'absent';

export function healthOf(component: Pick<LabComponent, 'phase'> | undefined): Health {
  switch (component?.phase) {
    case undefined:
    case 'compose-only':
    case 'missing':
    case 'stopped':
      return 'absent';
    case 'healthy':
      return 'good';
    case 'waiting':
    case 'preparing':
    case 'starting':
    case 'stopping':
      return 'pending';
    default:
      return 'bad';
  }
}

export function phaseText(phase: string): string {
  return phase === 'compose-only' ? 'compose only' : phase;
}
