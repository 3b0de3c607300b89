// What the diagnosis says in English sentences, said in Chinese from its kinds and numbers; a sentence that no pattern knows
// is shown as it came.
const MEANINGS = {
  "vanishing": "梯度从损失往回传播时逐层缩小，靠近输入的层几乎得不到梯度，学不动。",
  "exploding": "梯度往回传播时逐层放大，更新过大，训练不稳定。",
  "dead units": "许多神经元对所有样本都不激活，导数为 0，不再学习。",
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
  "regularisation too strong": "权重衰减、惩罚项或随机失活过强，模型学不动。",
};
const PATTERNS = [
  [/^(\w+) for (\w+)$/, "用 $1 代替 $2"],
  [/^batch normalisation$/, "批归一化"], [/^layer normalisation$/, "层归一化"], [/^group normalisation$/, "组归一化"],
  [/^residual shortcuts$/, "残差连接"], [/^LSUV initialisation$/, "LSUV 初始化"], [/^orthogonal weights$/, "正交权重"],
  [/^orthogonal recurrent weights$/, "正交的循环权重"], [/^forget gates open at first$/, "遗忘门初始打开"],
  [/^weights drawn anew \(deviation (.*)\)$/, "重新初始化权重(标准差 $1)"],
  [/^clip the gradient's norm at (.*)$/, "梯度范数裁剪到 $1"], [/^clip the gradient's values at (.*)$/, "梯度各分量裁剪到 $1"],
  [/^Adam with learning rate (.*)$/, "Adam，学习率 $1"], [/^warm-up over (\d+) steps$/, "学习率预热 $1 步"],
  [/^weight decay (.*)$/, "权重衰减 $1"], [/^dropout of (.*)$/, "随机失活 $1"], [/^no dropout$/, "不用随机失活"],
  [/^draws weights together, but slower than the loss moves them$/, "仍收缩权重，但慢于损失对权重的调整"],
  [/^nothing then pulls the weights to 0$/, "不再有把权重拉向 0 的作用"], [/^(most|all) of the signal then comes through$/, (text) => text.startsWith("all") ? "信号全部通过" : "大部分信号得以通过"],
  [/^(L[12]) regularisation (.*)$/, "$1 正则化 $2"],
  [/^learning rate (.*)$/, "学习率 $1"], [/^remove the (\w+) before the loss$/, "去掉损失之前的 $1"],
  [/^(\w+) before the loss$/, "在损失之前加 $1"],
  [/^its derivative is 1 where it is active, instead of at most 1\/4$/, "激活时导数为 1，而不是至多 1/4"],
  [/^its derivative is 1 where it is active, instead of falling to 0 on both sides$/, "激活时导数为 1，而不是在两侧降为 0"],
  [/^sets the scale of every layer's signal.*$/, "固定每层信号的尺度，从而固定梯度的尺度"],
  [/^the gradient passes every block with factor 1$/, "梯度以系数 1 穿过每个模块"],
  [/^its derivative is never 0.*$/, "导数处处不为 0，神经元不会死亡"],
  [/^keep the gradient's length from step to step.*$/, "逐步保持梯度的长度"],
  [/^its (?:state|cell) is kept by gates.*$/, "状态由门控保持"],
  [/^gates that keep begin.*$/, "保持门初始打开，记忆更长"],
  [/^lets all parameters be trained$/, "让所有参数都参与训练"],
  [/^keeps the scale of signals and gradients through (?:the layers|(.*?))(, measured on this batch)?$/,
    (_, act, measured) => `使信号和梯度经过${act ? ` ${act} ` : "各层"}时保持尺度${measured ? "(按本批次测量)" : ""}`],
  [/^holds the step, though not the gradient's direction, in bounds$/, "限制步长，不改变梯度的方向"],
  [/^(?:keeps steps in bounds|bounds the step|bounds what single steps do)$/, "限制单步的大小"],
  [/^the gradient ends there, which then passes$/, "梯度在那里中断，去掉后即可通过"],
  [/^what it makes stays, and the gradient passes as if it were not there$/, "输出不变，梯度则像没有它一样通过"],
  [/^the loss takes logarithms of what has to be probabilities$/, "损失要对概率取对数"],
  [/^the loss expects logarithms of probabilities$/, "损失需要概率的对数"],
  [/^steps of the same size whatever the size of the gradient$/, "无论梯度多大，步长都一样"], [/^its steps don't grow with the loss$/, "步长不随损失增大"],
  [/^gradients through many steps are sometimes large$/, "经过许多时间步的梯度有时很大"],
  [/^keep a state's length from step to step$/, "逐步保持状态的长度"],
  [/^an eighth of the steps that could be made at once$/, "可一次走完的步长的八分之一"],
  [/^(?:the same, more careful|as far as it may go)$/, (text) => text === "as far as it may go" ? "可行的最大值" : "同上，更谨慎"],
  [/^leaves room for batches with a larger curvature$/, "为曲率更大的批次留出余地"],
  [/^the loss falls with it$/, "用它损失会下降"], [/^averages over more batches$/, "对更多批次取平均"],
  [/^of (\d+) rates, tried in short runs, the one that learns most$/, "短程试验的 $1 个学习率中学得最多的一个"],
  [/^cross entropy (?:takes logits of any size|applies its own, to logits)$/, "交叉熵本身接受任意大小的 logits"],
  [/^(?:takes logits, and the logarithm of their softmax itself|the loss applies its own, to logits|takes the logarithm of the probabilities)$/, "损失自身会处理 logits"],
  [/^units start on their active side for some examples$/, "神经元对部分样本从激活的一侧开始"], [/^others are kept$/, "其余权重保留"],
  [/^its units start where they are not flat$/, "神经元从不平坦处开始"], [/^the (?:loss|output) then reaches every (?:layer|target)$/, "损失随后能到达每一层"],
  [/^first weights are made for inputs of mean 0 and size 1$/, "初始权重是为均值 0、大小 1 的输入设计的"],
  [/^the output then starts at the targets' mean and has their spread in reach$/, "输出从目标的均值开始，其散布也在范围之内"],
  [/^each output is then compared with its own target$/, "每个输出只与自己的目标比较"],
  [/^they were lost by steps that went too far$/, "它们因步长过大而丢失"], [/^half of the best length$/, "最佳步长的一半"],
  [/^bounds each number$/, "限制每个分量"], [/^the last layer's are at most about (.*)$/, "最后一层的分量至多约为 $1"],
  [/^draws weights together that are too large$/, "把过大的权重收小"], [/^the same, and lets few of them be large$/, "同上，并且只让少数权重较大"],
  [/^lets curvature fall before steps get long$/, "在步长变大之前先让曲率下降"], [/^it goes on falling below 0, and keeps a derivative there$/, "它在 0 以下仍有变化，导数不为 0"],
  [/^(\w+) for (\w+), by hand$/, "手动用 $1 代替 $2"],
  [/^(\w+) is a function called in forward, which no remedy can exchange: write (\S+) at (.*)$/, "$1 是 forward 中调用的函数，无法自动替换：请在 $3 写成 $2"],
  [/^dead layers drawn anew$/, "重新初始化死亡的层"], [/^output layer drawn anew$/, "重新初始化输出层"], [/^unfreeze all$/, "全部解冻"], [/^unfreeze (.*)$/, "解冻 $1"],
  [/^leave out (.*) \((\w+)\)$/, "去掉 $1($2)"], [/^straight-through derivative of (.*) \((\w+)\)$/, "让梯度直接穿过 $1($2)"],
  [/^an optimizer of all parameters$/, "让优化器更新全部参数"],
  [/^the loss with its sign turned$/, "把损失的符号反过来"], [/^a loss has to fall as the output gets better$/, "输出越好，损失应当越低"],
  [/^softmax over axis 1$/, "沿第 1 轴取 softmax"], [/^each example's probabilities then add up to 1$/, "这样每个样本的概率之和为 1"],
  [/^outputs and targets of one shape, by hand$/, "手动让输出与目标形状一致"],
  [/^softmax over axis 1, by hand$/, "手动改为沿第 1 轴取 softmax"], [/^no sigmoid before the loss, by hand$/, "手动去掉损失之前的 sigmoid"],
  [/^the loss without (.*), by hand$/, "手动从损失中去掉 $1"], [/^(?:can't be applied: change|stands in your own function: change) (.*)$/, "写在你自己的函数里，请修改 $1"],
  [/^cross entropy of the logits$/, "对 logits 取交叉熵"], [/^no (\w+) at the output$/, "输出不用 $1"], [/^inputs standardised$/, "输入标准化"],
  [/^outputs on the targets' scale$/, "把输出缩放到目标的尺度"], [/^output of the targets' shape \((.*)\)$/, "输出与目标形状一致($1)"],
  [/^can't be applied: (.*)$/, "无法应用：$1"], [/^needed, and not enough by itself$/, "必要，但单独不够"],
  [/^judged by the loss that fits, (?:no more than )?([\d.]+%) of what a constant(?: output)? costs is gone$/, "按合适的损失衡量，比常数输出降低了 $1"],
  [/^with(out)? the remedy (\d+) of (\d+) runs end in numbers that aren't finite$/, (_, out, a, b) => `${out ? "不用" : "用了"}这个办法，${b} 次运行中有 ${a} 次得到非有限值`],
  [/^(\d+) of (\d+) runs still end in numbers that aren't finite$/, "$2 次运行中仍有 $1 次得到非有限值"],
  [/^the loss ends no lower than by chance \((.*), standard error (.*)\)$/, "最终损失没有显著降低($1，标准误差 $2)"],
  [/^the worst run learns ([\d.]+%), without the remedy ([\d.]+%)$/, "最差的一次学到 $1，不用这个办法为 $2"],
  [/^learning rate × (.*)$/, "学习率 × $1"],
  [/^the gradient's norm of the last layer is about (.*)$/, "最后一层的梯度范数约为 $1"],
  [/^(sigmoid|softmax|log_softmax) before the loss$/, "在损失之前加 $1"], [/^the loss ends (\d+) ?% lower$/, "最终损失降低 $1 %"], [/^the loss ends (\d+) ?% higher$/, "最终损失升高 $1 %"],
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
