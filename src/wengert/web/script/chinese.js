// What the diagnosis says in English sentences, said in Chinese from its kinds and numbers; a sentence that no pattern knows
// is shown as it came.
const MEANINGS = {
  "vanishing": "梯度从损失往回传播时逐层缩小，靠近输入的层几乎得不到梯度，学不动。",
  "exploding": "梯度往回传播时逐层放大，更新过大，训练不稳定。",
  "dead units": "许多神经元对所有样本都不激活，导数为 0,不再学习。",
  "saturation": "许多神经元处在激活函数的平坦区，导数接近 0。",
  "large initialisation": "初始权重过大，信号或梯度被放大。",
  "small initialisation": "初始权重过小，信号或梯度被缩小。",
  "missing shortcut": "网络很深却没有残差连接，梯度没有短路径可走。",
  "short memory": "循环层的梯度几乎全部来自最近的时间步，较远的时间步被淹没。",
  "learning rate too high": "学习率过高，一步走过了头。",
  "learning rate too low": "学习率过低，损失几乎不动。",
  "gradient noise": "小批量梯度的噪声远大于信号。",
  "non-finite": "计算中出现了 NaN 或无穷大。",
  "disconnected": "有参数得不到任何梯度：从它到损失没有可导的路径。",
  "frozen": "有参数被冻结，不参与学习。",
  "shattered": "深层网络的梯度大小正常，但方向像白噪声，不再反映输入。",
  "loss pairing": "输出层与损失函数不匹配(例如重复做 softmax)。",
  "input scale": "输入数值的大小与初始权重的假设相差太远，应先标准化。",
  "target scale": "目标值远大于网络的输出，应按目标的均值和标准差缩放输出。",
  "identical inputs": "所有样本的输入都相同，无法区分。",
};
const PATTERNS = [
  [/^(\w+) for (\w+)$/, "用 $1 代替 $2"],
  [/^batch normalisation$/, "批归一化"], [/^layer normalisation$/, "层归一化"], [/^group normalisation$/, "组归一化"],
  [/^residual shortcuts$/, "残差连接"], [/^LSUV initialisation$/, "LSUV 初始化"], [/^orthogonal weights$/, "正交权重"],
  [/^orthogonal recurrent weights$/, "正交的循环权重"], [/^forget gates open at first$/, "遗忘门初始打开"],
  [/^weights drawn anew \(deviation (.*)\)$/, "重新初始化权重(标准差 $1)"],
  [/^clip the gradient's norm at (.*)$/, "梯度范数裁剪到 $1"], [/^clip the gradient's values at (.*)$/, "梯度各分量裁剪到 $1"],
  [/^Adam with learning rate (.*)$/, "Adam，学习率 $1"], [/^warm-up over (\d+) steps$/, "学习率预热 $1 步"],
  [/^(L[12]) regularisation (.*)$/, "$1 正则化 $2"],
  [/^learning rate (.*)$/, "学习率 $1"], [/^remove the (\w+) before the loss$/, "去掉损失之前的 $1"],
  [/^(\w+) before the loss$/, "在损失之前加 $1"],
  [/^its derivative is 1 where it is active.*$/, "激活时导数为 1,而 sigmoid 的导数至多 1/4"],
  [/^sets the scale of every layer's signal.*$/, "固定每层信号的尺度，从而固定梯度的尺度"],
  [/^the gradient passes every block with factor 1$/, "梯度以系数 1 穿过每个模块"],
  [/^its derivative is never 0.*$/, "导数处处不为 0,神经元不会死亡"],
  [/^keep the gradient's length from step to step.*$/, "逐步保持梯度的长度"],
  [/^its (?:state|cell) is kept by gates.*$/, "状态由门控保持"],
  [/^gates that keep begin.*$/, "保持门初始打开，记忆更长"],
  [/^lets all parameters be trained$/, "让所有参数都参与训练"],
  [/^the gradient's norm of the last layer is about (.*)$/, "最后一层的梯度范数约为 $1"],
  [/^the loss ends (\d+) ?% lower$/, "最终损失降低 $1 %"], [/^the loss ends (\d+) ?% higher$/, "最终损失升高 $1 %"],
];

function phrase(text) {
  if (state.language !== "zh" || !text) return text;
  for (const glue of [" + ", "; "]) if (text.includes(glue)) {
    const parts = text.split(glue), said = parts.map(phrase);
    return said.some((s, k) => s !== parts[k]) ? said.join(glue === " + " ? " + " : "；") : text;
  }
  const found = PATTERNS.find(([pattern]) => pattern.test(text));
  return found ? text.replace(found[0], found[1]) : t(text);
}

// "0 … 20 (11 parts)"
const placeName = text => state.language === "zh" ? text.replace(/\((\d+) parts\)/, "(共 $1 处)") : text;

function inChinese(f) {
  const shares = Object.entries(f.shares || {}).filter(([, s]) => s > 0.004).sort((a, b) => b[1] - a[1]).slice(0, 3)
    .map(([k, s]) => `${t(k)} ${percent(s)}`).join("、");
  return `${MEANINGS[f.kind] || t(f.kind)}${shares ? `原因：${shares}。` : ""}`;
}
