// Numbers as people read them: three digits, a true minus sign, decades beside factors.
const minus = text => text.replaceAll("-", "−");

function number(x) {
  if (x === null || x === undefined) return t("not finite");
  if (typeof x !== "number") return String(x);
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (Number.isInteger(x) && size < 1e6) return minus(String(x));
  if (size >= 1e-3 && size < 1e5) return minus(String(+x.toPrecision(3)));
  const [digits, power] = x.toExponential(2).split("e");
  return minus(`${+digits}e${+power}`);
}
function percent(x) {
  if (x === null || x === undefined) return "–";
  if (x && Math.abs(x) < 5e-5) return x > 0 ? "< 0.01 %" : "> −0.01 %";
  return minus(`${+(100 * x).toFixed(Math.abs(x) < 0.01 ? 2 : 1)} %`);
}

function decades(d) {
  if (d === null || d === undefined) return "−∞";
  const text = Math.abs(d) < 0.005 ? "0" : d.toFixed(2);
  return d > 0.005 ? `+${text}` : minus(text);
}

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const raised = n => [...String(n)].map(c => c === "-" ? "⁻" : RAISED[+c]).join("");

// 10 to the power d, said as a multiplication or a division
function factor(d) {
  if (d === null || d === undefined) return "× 0";
  if (Math.abs(d) < 0.02) return "× 1";
  const sign = d < 0 ? "÷" : "×", size = Math.abs(d);
  if (size < 4) return `${sign} ${+(10 ** size).toPrecision(2)}`;
  const whole = Math.floor(size), rest = 10 ** (size - whole);
  return rest < 1.05 ? `${sign} 10${raised(whole)}` : `${sign} ${rest.toFixed(1)}·10${raised(whole)}`;
}
const log10 = x => x > 0 ? Math.log10(x) : null;
