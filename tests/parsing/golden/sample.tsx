import { useState } from "react";

type Props = {
  name: string;
  balance: number;
};

export function AccountRow({ name, balance }: Props) {
  const [open, setOpen] = useState(false);
  return <Row onClick={() => setOpen(!open)}>{name}: {balance}</Row>;
}

export const Total: React.FC<Props> = ({ balance }) => {
  const text = format(balance);
  return <span>{text}</span>;
};
